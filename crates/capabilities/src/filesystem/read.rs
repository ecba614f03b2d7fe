use super::io::{modified, read_at, size_of};
use super::text::{NotUtf8, sha256, utf8_page};
use super::{Scope, fault};
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use rustix::fs::Stat;
use serde::Deserialize;
use serde_json::Value;

/// Bytes answered when the caller names no limit: what clients show a model without cutting it.
pub(super) const DEFAULT_LIMIT: u64 = 10_000;
/// Bytes answered at most: below the message limit of every transport, also as base64.
const MAX_LIMIT: u64 = 10 << 20;
/// Larger files are read page by page without a checksum: hashing one would take seconds.
const MAX_HASHED: u64 = 256 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    offset: u64,
    #[serde(default = "default_limit")]
    limit: u64,
}

fn default_limit() -> u64 {
    DEFAULT_LIMIT
}

/// How content travels in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "base64")]
    Base64,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    const DO: &str = "read";
    if args.limit == 0 || args.limit > MAX_LIMIT {
        return Err(CallError::invalid_input(
            "limit",
            "out of range",
            "1 to 10485760 bytes",
        ));
    }
    let place = scope.files.roots.locate("path", &args.path)?;
    let (file, stat) = place.open_file(DO)?;
    let fault = |errno| place.fault(errno, DO);
    let size = size_of(&stat);

    // Three bytes on both sides hold what is missing of characters that a page's edge splits.
    let before = args.offset.min(3);
    let start = args.offset - before;
    let span = size.saturating_sub(start).min(args.limit + before + 3);
    // One more than the file has: a file that says size 0 but has content (as in /proc) is read too.
    let wanted = usize::try_from(span).unwrap_or(usize::MAX).max(1);
    // Far behind the end there is nothing, and pread(2) refuses offsets that no file can have.
    let window = match start > size.max(wanted as u64) {
        true => Vec::new(),
        false => read_at(&file, start, wanted).map_err(fault)?,
    };
    let checksum = if start == 0 && window.len() as u64 == size {
        Some(sha256(&window))
    } else {
        scope
            .files
            .sums
            .of(&file, &stat, MAX_HASHED, scope.files.clock.now())
            .map_err(fault)?
    };

    answer(&args, start, window, &stat, checksum)
}

/// The answer around a window of the file that begins at `start`, up to three bytes before the page.
fn answer(
    args: &Args,
    start: u64,
    window: Vec<u8>,
    stat: &Stat,
    checksum: Option<String>,
) -> Result<Value, CallError> {
    let before = usize::try_from(args.offset - start).unwrap_or(0);
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let content = match args.encoding {
        Encoding::Utf8 => text_of(window, before, limit)
            .map_err(|wrong| not_text(&args.path, start + wrong.at as u64))?,
        Encoding::Base64 => {
            let end = (before + limit).min(window.len());
            data_encoding::BASE64.encode(window.get(before..end).unwrap_or_default())
        }
    };
    Ok(object([
        ("content", content.into()),
        ("size", size_of(stat).into()),
        ("modified", modified(stat).to_string().into()),
        ("checksum", checksum.into()),
        (
            "truncated",
            (args.offset.saturating_add(args.limit) < size_of(stat)).into(),
        ),
    ]))
}

/// The page's text; a page that is the whole file is not copied.
fn text_of(window: Vec<u8>, before: usize, limit: usize) -> Result<String, NotUtf8> {
    if before > 0 || window.len() > limit {
        return utf8_page(&window, before, limit).map(str::to_owned);
    }
    String::from_utf8(window).map_err(|error| NotUtf8 {
        at: error.utf8_error().valid_up_to(),
    })
}

fn not_text(path: &str, position: u64) -> CallError {
    fault::of(ErrorType::EncodingError, path)
        .with("encoding", "utf-8")
        .with("position", position)
}
