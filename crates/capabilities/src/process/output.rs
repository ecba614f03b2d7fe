//! A program's output as text: its last lines, or a page of it.

use crate::program::{Running, Stream};
use kruxos_types::CallError;

/// Bytes of the end that are looked at for last lines: what fits a model's answer.
const TAIL_BYTES: u64 = 256 << 10;

/// The last `lines` lines of what is kept, as text; what is not UTF-8 is shown by U+FFFD. A note stands
/// first where the beginning is missing, and last where output beyond the bound was dropped.
pub(super) fn tail(
    running: &dyn Running,
    stream: Stream,
    lines: usize,
) -> Result<String, CallError> {
    let printed = running.printed(stream);
    if lines == 0 || printed.kept == 0 {
        return Ok(String::new());
    }
    let start = printed.kept.saturating_sub(TAIL_BYTES);
    let bytes = read(running, stream, start, TAIL_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    let (shown, whole) = last_lines(&text, lines);
    let mut answer = String::with_capacity(shown.len() + 80);
    if !whole || start > 0 {
        answer.push_str("[earlier output: process.logs]\n");
    }
    answer.push_str(shown);
    if printed.total > printed.kept {
        let dropped = printed.total - printed.kept;
        answer.push_str(&format!("\n[{dropped} bytes more were not kept]"));
    }
    Ok(answer)
}

/// The last `lines` lines, and whether that is all.
fn last_lines(text: &str, lines: usize) -> (&str, bool) {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let before = body.rmatch_indices('\n').nth(lines.saturating_sub(1));
    match before {
        Some((at, _)) => (text.get(at + 1..).unwrap_or_default(), false),
        None => (text, true),
    }
}

/// A page of at most `limit` bytes from `offset` on. Characters that the page's end splits are left for
/// the next one.
pub(super) fn page(
    running: &dyn Running,
    stream: Stream,
    offset: u64,
    limit: u64,
) -> Result<Page, CallError> {
    let mut bytes = read(running, stream, offset, limit)?;
    let printed = running.printed(stream);
    let end = offset.saturating_add(bytes.len() as u64);
    let more = end < printed.kept;
    if more {
        bytes.truncate(bytes.len() - split_end(&bytes));
    }
    Ok(Page {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        size: printed.total,
        more: more || printed.total > printed.kept,
    })
}

/// What [`page`] gives.
pub(super) struct Page {
    pub(super) text: String,
    /// Bytes printed so far.
    pub(super) size: u64,
    /// There is more than the page, kept or not.
    pub(super) more: bool,
}

/// How many bytes at the end begin a character that is not complete, if something stands before them.
fn split_end(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let Some(byte) = bytes.get(bytes.len() - back) else {
            break;
        };
        let wanted = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => break,
        };
        return if back < wanted && back < bytes.len() {
            back
        } else {
            0
        };
    }
    0
}

fn read(
    running: &dyn Running,
    stream: Stream,
    offset: u64,
    limit: u64,
) -> Result<Vec<u8>, CallError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    running
        .output(stream, offset, limit)
        .map_err(CallError::internal_failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_whole_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), ("b\nc\n", false));
        assert_eq!(last_lines("a\nb\nc", 2), ("b\nc", false));
        assert_eq!(last_lines("a\nb\n", 2), ("a\nb\n", true));
        assert_eq!(last_lines("\n\n\n", 1), ("\n", false));
        assert_eq!(last_lines("", 5), ("", true));
    }

    #[test]
    fn a_split_character_waits_for_the_next_page() {
        assert_eq!(split_end("aé".as_bytes()), 0);
        assert_eq!(split_end(b"a\xc3"), 1);
        assert_eq!(split_end(b"a\xf0\x9f\x98"), 3);
        assert_eq!(split_end(b"a\xff"), 0);
        assert_eq!(split_end(b"a\x80\x80\x80\x80"), 0);
        // A page of nothing but a beginning would never get on.
        assert_eq!(split_end(b"\xc3"), 0);
        assert_eq!(split_end(b""), 0);
    }
}
