//! Text helpers: safe quoting, pages of UTF-8, hashes, times and bounded diffs.

use sha2::{Digest, Sha256};
use similar::TextDiff;
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

/// Longest quotation of a caller's text in an error, in bytes: enough for any sane path.
const MAX_QUOTE: usize = 512;
/// A diff that takes longer falls back to a coarser one instead of keeping the caller waiting.
const DIFF_TIME: Duration = Duration::from_millis(500);
/// Old and new text together beyond which no diff is made, in bytes: line tables take memory.
const MAX_DIFF_INPUT: usize = 16 << 20;

/// A caller's text for an error or a preview: control, bidirectional and zero-width characters are
/// written as `\u{…}`, and what is too long is cut.
pub(crate) fn quote(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_QUOTE.min(text.len()));
    let mut quoted = String::with_capacity(end + 8);
    push_quoted(&mut quoted, text.get(..end).unwrap_or_default());
    if end < text.len() {
        quoted.push('…');
    }
    quoted
}

/// [`quote`] without its bound, onto the end of a text.
pub(super) fn push_quoted(out: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() || is_invisible(character) {
            // Writing to a String cannot fail.
            let _infallible = write!(out, "\\u{{{:x}}}", u32::from(character));
        } else {
            out.push(character);
        }
    }
}

/// Characters that reorder or hide text.
#[must_use]
pub fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{061c}' | '\u{00ad}' | '\u{fff9}'..='\u{fffb}')
}

/// SHA-256 as 64 lower-case hex characters.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).as_slice())
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

/// An instant of the file system; one that no calendar holds becomes the epoch.
pub(super) fn instant(seconds: i64, nanoseconds: i64) -> jiff::Timestamp {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
    jiff::Timestamp::new(seconds, nanoseconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// `rwxr-x---` with setuid, setgid and sticky bits, as `ls` shows them.
pub(super) fn permissions(mode: u32) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// Where in a page of a file the text does not decode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUtf8 {
    /// Bytes from the start of the page's window.
    pub(super) at: usize,
}

/// The text of a page of a UTF-8 file. `window` starts `before` bytes (at most 3) ahead of the page
/// and runs up to 3 bytes past its `length`, as far as the file goes.
///
/// A character belongs to the page that holds its first byte. So pages taken one after the other,
/// each `length` further on, give the file back whole and never split a character.
pub(super) fn utf8_page(window: &[u8], before: usize, length: usize) -> Result<&str, NotUtf8> {
    let is_continuation = |byte: &u8| byte & 0xC0 == 0x80;
    let Some(page) = window.get(before..) else {
        // The page begins behind the end of the file.
        return Ok("");
    };
    let mut start = page
        .iter()
        .take(3)
        .take_while(|byte| is_continuation(byte))
        .count();
    if start > 0 && !belongs_to_character_before(window, before, start) {
        return Err(NotUtf8 { at: before });
    }
    start += before;
    let nominal = (before + length).clamp(start, window.len());
    let extra = window.get(nominal..).unwrap_or_default();
    let end = nominal
        + extra
            .iter()
            .take(3)
            .take_while(|byte| is_continuation(byte))
            .count();
    let bytes = window.get(start..end).unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|error| NotUtf8 {
        at: start + error.valid_up_to(),
    })
}

/// Whether the `count` continuation bytes at `at` end a character whose first byte lies before `at`.
fn belongs_to_character_before(window: &[u8], at: usize, count: usize) -> bool {
    (0..at).rev().take(3).any(|first| {
        window.get(first..at + count).is_some_and(|bytes| {
            std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
        })
    })
}

/// A unified diff with three lines of context, at most `limit` bytes; a longer one is cut at a line
/// and says so.
pub(super) fn unified_diff(old: &str, new: &str, path: &str, limit: usize) -> String {
    if old == new {
        return String::new();
    }
    if old.len().saturating_add(new.len()) > MAX_DIFF_INPUT {
        return format!("(no diff: the texts are larger than {MAX_DIFF_INPUT} bytes together)\n");
    }
    let path = quote(path);
    let diff = TextDiff::configure()
        .timeout(DIFF_TIME)
        .diff_lines(old, new);
    let mut out = Limited {
        bytes: Vec::new(),
        limit,
    };
    let written = diff
        .unified_diff()
        .context_radius(3)
        .header(&format!("a{path}"), &format!("b{path}"))
        .to_writer(&mut out);
    let mut text = String::from_utf8_lossy(&out.bytes).into_owned();
    if written.is_err() {
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        let _infallible = writeln!(text, "(diff cut at {limit} bytes)");
    }
    text
}

/// A writer that takes `limit` bytes and then fails.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Limited {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let room = self.limit.saturating_sub(self.bytes.len());
        if room == 0 && !buffer.is_empty() {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let taken = buffer.get(..room.min(buffer.len())).unwrap_or_default();
        self.bytes.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// `text` cut to at most `limit` bytes at a character, with `…` where something is missing.
/// `column` (bytes) stays visible.
pub(super) fn excerpt(text: &str, column: usize, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let wanted = if column < limit {
        0
    } else {
        column.saturating_sub(limit / 3)
    };
    let start = text.floor_char_boundary(wanted);
    let end = text.floor_char_boundary((start + limit).min(text.len()));
    let mut cut = String::with_capacity(limit + 8);
    if start > 0 {
        cut.push('…');
    }
    cut.push_str(text.get(start..end).unwrap_or_default());
    if end < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    /// What `filesystem.read` cuts out of a file for one page.
    fn page(file: &[u8], offset: usize, length: usize) -> Result<&str, NotUtf8> {
        let before = offset.min(3);
        let end = (offset + length + 3).min(file.len());
        utf8_page(&file[offset - before..end], before, length)
    }

    #[test]
    fn a_page_behind_the_end_is_empty() {
        for window in ["", "a", "ab", "ü", "abc"] {
            assert_eq!(utf8_page(window.as_bytes(), 3, 10), Ok(""), "{window}");
        }
    }

    proptest! {
        #[test]
        fn pages_of_any_length_join_to_the_file(text in "\\PC{0,60}", length in 1usize..9) {
            let bytes = text.as_bytes();
            let mut joined = String::new();
            for offset in (0..bytes.len()).step_by(length) {
                joined.push_str(page(bytes, offset, length).unwrap());
            }
            prop_assert_eq!(joined, text);
        }

        #[test]
        fn any_bytes_are_text_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), offset in 0usize..40, length in 1usize..9) {
            let offset = offset.min(bytes.len());
            if let Ok(text) = page(&bytes, offset, length) {
                prop_assert!(text.len() <= length + 3);
            }
        }
    }

    #[test]
    fn stray_continuation_bytes_are_an_error_not_skipped() {
        assert_eq!(page(b"ab\x80cd", 2, 2), Err(NotUtf8 { at: 2 }));
        assert_eq!(page(b"ab\xC3\xA4cd", 3, 2), Ok("c"));
        assert!(page(b"\xC3\xA4\x80x", 1, 3).is_err());
    }

    #[test]
    fn quoting_shows_what_would_hide() {
        assert_eq!(
            quote("a\n\u{1b}[31m\u{202e}b"),
            "a\\u{a}\\u{1b}[31m\\u{202e}b"
        );
        assert!(quote(&"x".repeat(100_000)).len() < 600);
    }

    #[test]
    fn a_long_diff_is_cut_at_a_line_and_says_so() {
        let new: String = (0..10_000).map(|line| format!("line {line}\n")).collect();
        let diff = unified_diff("", &new, "/workspace/a", 1_000);
        assert!(diff.len() < 1_100);
        assert!(diff.ends_with("(diff cut at 1000 bytes)\n"), "{diff}");
        assert!(unified_diff("a\n", "b\n", "/workspace/a", 1_000).contains("-a\n+b\n"));
    }

    #[test]
    fn permissions_read_like_ls() {
        assert_eq!(permissions(0o100_644), "rw-r--r--");
        assert_eq!(permissions(0o4_755), "rwsr-xr-x");
        assert_eq!(permissions(0o1_777), "rwxrwxrwt");
        assert_eq!(permissions(0o2_600), "rw---S---");
    }

    #[test]
    fn an_excerpt_keeps_the_match_visible() {
        let line = format!("{}needle{}", "ä".repeat(400), "b".repeat(400));
        let cut = excerpt(&line, 800, 300);
        assert!(cut.contains("needle") && cut.len() <= 310, "{cut}");
    }
}
