use super::io::size_of;
use super::pattern::{Glob, line_matcher};
use super::place::Place;
use super::roots::show_name;
use super::search::{directory, extension, join};
use super::text::excerpt;
use super::walk::{Budget, MAX_HELD, Next, Walk};
use super::{Scope, fault};
use crate::shapes::object;
use grep_matcher::Matcher;
use grep_regex::RegexMatcher;
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use kruxos_types::CallError;
use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::Read;
use std::time::Instant;

const DO: &str = "search";
/// Larger files are left out, in bytes: source and notes are smaller, and the answer says so by `truncated`.
const MAX_FILE: u64 = 16 << 20;
/// Matches answered at most, whatever is asked for.
const MAX_RESULTS: usize = 5_000;
/// Bytes of a line shown around its match.
const MAX_LINE: usize = 300;
/// Bytes of answer for each result asked for: the default of 100 results stays about 10 KB.
const BYTES_PER_RESULT: usize = 100;
/// Keys of `counts`, the largest first.
const MAX_COUNTS: usize = 1_000;
/// Longest line held in memory, in bytes: minified files have no others.
const MAX_HEAP: usize = 32 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    path: String,
    pattern: String,
    #[serde(default)]
    regex: bool,
    include_glob: Option<String>,
    #[serde(default)]
    files_only: bool,
    #[serde(default)]
    total_only: bool,
    count_by: Option<CountBy>,
    #[serde(default = "default_results")]
    max_results: usize,
}

fn default_results() -> usize {
    100
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CountBy {
    File,
    Extension,
    Directory,
}

pub(super) fn run(args: Args, scope: &Scope<'_>) -> Result<Value, CallError> {
    let matcher = line_matcher(&args.pattern, args.regex)?;
    let glob = args.include_glob.as_deref().map(Glob::new).transpose()?;
    if args.max_results == 0 || args.max_results > MAX_RESULTS {
        return Err(CallError::invalid_input(
            "max_results",
            "out of range",
            "1 to 5000",
        ));
    }
    let place = scope.files.roots.locate("path", &args.path)?;
    let mut search = Search {
        matcher,
        searcher: searcher(),
        tally: Tally::new(&args),
    };
    let source = match place.open_directory() {
        Ok(start) => {
            let mut walk = Walk::new(start, false);
            search.tree(&mut walk, glob.as_ref());
            search.tally.cut |= walk.cut;
            Source::Tree(walk)
        }
        Err(Errno::NOTDIR) => {
            let (file, stat) = place.open_file(DO)?;
            if size_of(&stat) > MAX_FILE {
                return Err(fault::exhausted(
                    "bytes of one file",
                    MAX_FILE,
                    size_of(&stat),
                ));
            }
            let counted = search.count(file);
            search.tally.add(&[], counted);
            Source::File
        }
        Err(errno) => return Err(place.fault(errno, DO)),
    };
    Ok(search.answer(&args, &place, &source))
}

fn searcher() -> Searcher {
    SearcherBuilder::new()
        .binary_detection(BinaryDetection::quit(0))
        .line_number(true)
        .heap_limit(Some(MAX_HEAP))
        .build()
}

/// Where files are opened again to show their lines.
enum Source {
    Tree(Walk),
    /// The searched path is a file itself.
    File,
}

struct Search {
    matcher: RegexMatcher,
    searcher: Searcher,
    tally: Tally,
}

/// What the first pass knows of one file.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    lines: u64,
    has_definition: bool,
    /// It was searched to its end.
    whole: bool,
}

impl Search {
    fn tree(&mut self, walk: &mut Walk, glob: Option<&Glob>) {
        let deadline = walk.deadline();
        walk.each(|entry| {
            let wanted = entry.kind == FileType::RegularFile
                && glob.is_none_or(|glob| glob.matches(entry.rel));
            if !wanted {
                return Next::On;
            }
            if Instant::now() > deadline {
                return Next::Stop;
            }
            let Some((file, stat)) = entry.open_file() else {
                return Next::On;
            };
            if size_of(&stat) > MAX_FILE {
                self.tally.cut = true;
                return Next::On;
            }
            let counted = self.count(file);
            self.tally.add(entry.rel, counted);
            Next::On
        });
    }

    /// Counts matching lines. A file that turns out binary has none.
    fn count(&mut self, file: OwnedFd) -> Counted {
        let mut counter = Counter {
            counted: Counted {
                whole: true,
                ..Counted::default()
            },
            binary: false,
        };
        if self
            .searcher
            .search_reader(&self.matcher, bounded(file), &mut counter)
            .is_err()
        {
            counter.counted.whole = false;
        }
        if counter.binary {
            Counted {
                whole: true,
                ..Counted::default()
            }
        } else {
            counter.counted
        }
    }

    fn answer(mut self, args: &Args, place: &Place<'_>, source: &Source) -> Value {
        let ranked = std::mem::take(&mut self.tally.best).into_sorted_vec();
        let mut lines = Lines {
            max: args.max_results,
            bytes: args.max_results * BYTES_PER_RESULT,
            ..Lines::default()
        };
        let mut shown_all = true;
        if args.files_only {
            let row = |file: &Ranked| json!({ "path": join(place, &show_name(&file.rel).0), "matches": file.lines });
            lines.rows = ranked.iter().take(args.max_results).map(row).collect();
            shown_all = self.tally.files <= args.max_results as u64;
        } else if !args.total_only {
            for file in &ranked {
                lines.path = join(place, &show_name(&file.rel).0);
                let opened = match source {
                    Source::Tree(walk) => walk.open_file(&file.rel),
                    Source::File => place.open_file(DO).ok(),
                };
                if let Some((file, _)) = opened {
                    let mut sink = LineSink {
                        lines: &mut lines,
                        matcher: &self.matcher,
                    };
                    // A file that cannot be read to its end shows the lines up to there.
                    shown_all &= self
                        .searcher
                        .search_reader(&self.matcher, bounded(file), &mut sink)
                        .is_ok();
                }
                if lines.full {
                    break;
                }
            }
            shown_all &= lines.rows.len() as u64 >= self.tally.total;
        }
        // Too many counts are told as cut too, so they come first.
        let counts = args.count_by.map(|_| self.tally.counts());
        let mut answer = object([
            ("matches", lines.rows.into()),
            ("total_matches", self.tally.total.into()),
            ("truncated", (self.tally.cut || !shown_all).into()),
        ]);
        if let (Some(counts), Some(fields)) = (counts, answer.as_object_mut()) {
            fields.insert("counts".to_owned(), counts);
        }
        answer
    }
}

/// A reader that ends at [`MAX_FILE`], however the file grows.
fn bounded(file: OwnedFd) -> impl Read {
    File::from(file).take(MAX_FILE)
}

/// Totals of the first pass and the files worth showing.
struct Tally {
    total: u64,
    files: u64,
    max: usize,
    by: Option<CountBy>,
    counts: HashMap<String, u64>,
    counts_room: Budget,
    best: BinaryHeap<Ranked>,
    cut: bool,
}

/// Files with lines that look like definitions come first, then those with more matching lines, then
/// the shallower, then by path. The smallest is the best.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    lacks_definition: bool,
    fewer: std::cmp::Reverse<u64>,
    depth: usize,
    rel: Vec<u8>,
    lines: u64,
}

impl Tally {
    fn new(args: &Args) -> Tally {
        Tally {
            total: 0,
            files: 0,
            max: args.max_results,
            by: args.count_by,
            counts: HashMap::new(),
            counts_room: Budget::new(MAX_HELD),
            best: BinaryHeap::new(),
            cut: false,
        }
    }

    fn add(&mut self, rel: &[u8], counted: Counted) {
        self.cut |= !counted.whole;
        if counted.lines == 0 {
            return;
        }
        self.total += counted.lines;
        self.files += 1;
        if let Some(by) = self.by {
            let key = match by {
                CountBy::File => show_name(rel).0,
                CountBy::Extension => extension(rel),
                CountBy::Directory => directory(rel),
            };
            if let Some(count) = self.counts.get_mut(&key) {
                *count += counted.lines;
            } else if self.counts_room.take(key.as_bytes()) {
                self.counts.insert(key, counted.lines);
            } else {
                self.cut = true;
            }
        }
        self.best.push(Ranked {
            lacks_definition: !counted.has_definition,
            fewer: std::cmp::Reverse(counted.lines),
            depth: rel.iter().filter(|byte| **byte == b'/').count(),
            rel: rel.to_vec(),
            lines: counted.lines,
        });
        if self.best.len() > self.max {
            self.best.pop();
        }
    }

    fn counts(&mut self) -> Value {
        let mut sorted: Vec<(String, u64)> = std::mem::take(&mut self.counts).into_iter().collect();
        sorted.sort_by(|(key, one), (other_key, other)| {
            other.cmp(one).then_with(|| key.cmp(other_key))
        });
        self.cut |= sorted.len() > MAX_COUNTS;
        sorted
            .into_iter()
            .take(MAX_COUNTS)
            .map(|(key, count)| (key, count.into()))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// First pass: counts.
struct Counter {
    counted: Counted,
    binary: bool,
}

impl Sink for &mut Counter {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, std::io::Error> {
        self.counted.lines += 1;
        self.counted.has_definition |= looks_like_definition(found.bytes());
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _offset: u64) -> Result<bool, std::io::Error> {
        self.binary = true;
        Ok(false)
    }
}

/// Whether a line starts like a definition in a common language.
fn looks_like_definition(line: &[u8]) -> bool {
    const BEFORE: [&[u8]; 8] = [
        b"pub",
        b"pub(crate)",
        b"pub(super)",
        b"export",
        b"default",
        b"async",
        b"static",
        b"public",
    ];
    const KEYWORDS: [&[u8]; 14] = [
        b"fn",
        b"def",
        b"class",
        b"struct",
        b"enum",
        b"trait",
        b"interface",
        b"type",
        b"func",
        b"function",
        b"impl",
        b"mod",
        b"const",
        b"macro_rules!",
    ];
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .take(5)
        .find(|word| !BEFORE.contains(word))
        .is_some_and(|word| KEYWORDS.contains(&word))
}

/// Second pass: rows of the answer.
#[derive(Default)]
struct Lines {
    rows: Vec<Value>,
    path: String,
    max: usize,
    bytes: usize,
    full: bool,
}

struct LineSink<'l> {
    lines: &'l mut Lines,
    matcher: &'l RegexMatcher,
}

impl Sink for &mut LineSink<'_> {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, std::io::Error> {
        /// Keys, quotes and numbers of one row.
        const ROW: usize = 50;
        let bytes = found.bytes();
        let column = self
            .matcher
            .find(bytes)
            .ok()
            .flatten()
            .map_or(0, |found| found.start());
        let line = String::from_utf8_lossy(bytes.trim_ascii_end());
        let text = excerpt(&line, column, MAX_LINE);
        let lines = &mut *self.lines;
        let cost = text.len() + lines.path.len() + ROW;
        if lines.rows.len() >= lines.max || (cost > lines.bytes && !lines.rows.is_empty()) {
            lines.full = true;
            return Ok(false);
        }
        lines.bytes = lines.bytes.saturating_sub(cost);
        lines.rows.push(json!({
            "path": lines.path, "line": found.line_number(), "column": column + 1, "text": text,
        }));
        Ok(true)
    }
}
