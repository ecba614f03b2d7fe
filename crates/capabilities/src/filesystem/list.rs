use super::Scope;
use super::fault::{self, type_name};
use super::io::{modified, nanoseconds, size_of};
use super::place::Place;
use super::roots::show_name;
use super::temporary::is_temporary;
use super::text::permissions;
use crate::shapes::object;
use kruxos_types::{CallError, ErrorType};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BinaryHeap;
use std::ffi::CString;

const DO: &str = "list";
/// Entries answered; `total` counts the rest. More would not fit into what a model reads.
const MAX_ENTRIES: usize = 1_000;
/// Names looked at, so that the largest directory ends: about a second.
const MAX_SCANNED: u64 = 2_000_000;
/// Entries that sorting by size or time may look up one by one: about half a second.
const MAX_LOOKED_UP: u64 = 200_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    #[serde(default)]
    include_hidden: bool,
    #[serde(default)]
    sort_by: SortBy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SortBy {
    #[default]
    Name,
    Size,
    Modified,
    Type,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let place = scope.files.roots.locate("path", &args.path)?;
    let directory = place
        .open_directory()
        .map_err(|errno| directory_fault(&place, errno))?;
    let fail = |errno| place.fault(errno, DO);
    let mut entries = Dir::new(directory).map_err(fail)?;
    let (chosen, total) = choose(&mut entries, &args).map_err(|stop| match stop {
        Stop::Errno(errno) => fail(errno),
        Stop::Scanned => fault::exhausted("directory entries", MAX_SCANNED, MAX_SCANNED),
        Stop::LookedUp => fault::exhausted("directory entries", MAX_LOOKED_UP, MAX_LOOKED_UP)
            .detail("Sorting by size or time looks at every entry; sort by name or type instead."),
    })?;
    let directory = entries.fd().map_err(fail)?;
    let listed: Vec<Value> = chosen
        .iter()
        .filter_map(|name| entry(directory, name, &place))
        .collect();
    Ok(object([
        ("entries", listed.into()),
        ("total", total.into()),
        ("path", place.show().into()),
    ]))
}

/// What a path that is no directory means, for capabilities that want one.
pub(super) fn directory_fault(place: &Place<'_>, errno: Errno) -> CallError {
    match errno {
        Errno::NOENT => fault::of(ErrorType::DirectoryNotFound, place.given()),
        // The path, or a part above it, is a file: which one, the last component tells.
        Errno::NOTDIR if place.open(OFlags::PATH).is_ok() => {
            fault::of(ErrorType::NotADirectory, place.given())
        }
        Errno::NOTDIR => fault::of(ErrorType::DirectoryNotFound, place.given())
            .detail("A part of the path is not a directory."),
        other => place.fault(other, DO),
    }
}

/// Why a listing stops without an answer.
enum Stop {
    Errno(Errno),
    Scanned,
    LookedUp,
}

/// The first entries in the wanted order, holding no more than those in memory, and how many there are.
fn choose(entries: &mut Dir, args: &Args) -> Result<(Vec<CString>, u64), Stop> {
    let mut first: BinaryHeap<Ranked> = BinaryHeap::with_capacity(MAX_ENTRIES + 1);
    let (mut total, mut scanned) = (0, 0);
    while let Some(next) = entries.read() {
        let next = next.map_err(Stop::Errno)?;
        let name = next.file_name();
        let bytes = name.to_bytes();
        scanned += 1;
        if scanned > MAX_SCANNED {
            return Err(Stop::Scanned);
        }
        let hidden = bytes.starts_with(b".") && !args.include_hidden;
        if bytes == b"." || bytes == b".." || hidden || is_temporary(bytes) {
            continue;
        }
        total += 1;
        let rank = match args.sort_by {
            SortBy::Name => 0,
            SortBy::Type => type_rank(next.file_type()),
            SortBy::Size | SortBy::Modified if total > MAX_LOOKED_UP => return Err(Stop::LookedUp),
            sort => {
                let directory = entries.fd().map_err(Stop::Errno)?;
                rank_by_facts(directory, name, sort)
            }
        };
        first.push(Ranked {
            rank,
            name: name.to_owned(),
        });
        if first.len() > MAX_ENTRIES {
            first.pop();
        }
    }
    let sorted = first.into_sorted_vec();
    Ok((sorted.into_iter().map(|entry| entry.name).collect(), total))
}

/// An entry in the order of the answer: by rank, then by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    rank: i128,
    name: CString,
}

/// Directories first, then files, then links, then the rest.
fn type_rank(kind: FileType) -> i128 {
    match kind {
        FileType::Directory => 0,
        FileType::RegularFile => 1,
        FileType::Symlink => 2,
        _ => 3,
    }
}

/// Largest or newest first; what went away meanwhile last.
fn rank_by_facts(directory: impl AsFd, name: &std::ffi::CStr, sort: SortBy) -> i128 {
    let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return i128::MAX;
    };
    match sort {
        SortBy::Size => -i128::from(stat.st_size),
        _ => {
            -(i128::from(stat.st_mtime) * 1_000_000_000
                + i128::from(nanoseconds(stat.st_mtime_nsec)))
        }
    }
}

/// One entry of the answer; `None` if it went away meanwhile.
fn entry(directory: impl AsFd, name: &CString, place: &Place<'_>) -> Option<Value> {
    let stat = rustix::fs::statat(
        directory.as_fd(),
        name.as_c_str(),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .ok()?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let (shown, lossy) = show_name(name.as_bytes());
    let mut entry = json!({
        "name": shown,
        "type": type_name(kind),
        "size": size_of(&stat),
        "modified": modified(&stat).to_string(),
        "permissions": permissions(stat.st_mode),
    });
    if let Some(fields) = entry.as_object_mut() {
        if kind == FileType::Symlink {
            fields.insert("target".to_owned(), target(place, name).into());
        }
        if lossy {
            fields.insert(
                "note".to_owned(),
                "the name is not UTF-8 and cannot be opened as shown".into(),
            );
        }
    }
    Some(entry)
}

/// What a link in a listing leads to: a type, `outside` (opening it gives `PathOutOfScope`) or `broken`.
fn target(place: &Place<'_>, name: &CString) -> &'static str {
    match place
        .open_entry(name.as_bytes(), OFlags::PATH)
        .and_then(rustix::fs::fstat)
    {
        Ok(stat) => type_name(FileType::from_raw_mode(stat.st_mode)),
        Err(Errno::XDEV) => "outside",
        Err(_) => "broken",
    }
}
