//! What opening does before anything is written: takes the lock, checks the last segment, cuts a torn
//! tail, and decides where the chain goes on.

use crate::codec::{self, EntryRef, Hash, Link};
use crate::entry::{Kind, Record, Status};
use crate::frame::{self, Frames, Next, Tail};
use crate::log::{AuditError, Options};
use crate::segment::{self, Active, SegmentName};
use crate::writer::Start;
use data_encoding::HEXLOWER;
use kruxos_types::{Object, Timestamp};
use rustix::fs::FlockOperation;
use serde::Serialize;
use serde_json::Value;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// More entries than a segment of any sensible size holds.
const MOST_SKIPPED: u64 = 1 << 32;

/// What opening found.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(missing_docs)]
pub struct Recovery {
    /// Bytes of a torn last frame that were cut off.
    pub torn_bytes: u64,
    pub breaks: Vec<ChainBreak>,
    pub last_seq: Option<u64>,
}

/// One place where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct ChainBreak {
    pub file: String,
    pub seq: Option<u64>,
    pub offset: u64,
    /// `hash_mismatch`, `previous_hash`, `sequence`, `crc`, `frame`, `decode`, `missing_file`,
    /// `chain_break`: see docs/audit-format.md.
    pub kind: String,
    pub expected: Option<String>,
    pub found: Option<String>,
}

/// Everything the writer needs to go on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) start: Start,
    pub(crate) last_hash: Hash,
    pub(crate) next_seq: u64,
    /// Entries about what was found, to be written first.
    pub(crate) records: Vec<Record>,
    pub(crate) report: Recovery,
    pub(crate) lock: File,
}

pub(crate) fn recover(
    dir: &Path,
    options: &Options,
    now: Timestamp,
) -> Result<Recovered, AuditError> {
    let fail = |context: &str| {
        let context = format!("{context} {}", dir.display());
        move |source| AuditError::Io { context, source }
    };
    make_private(dir).map_err(fail("cannot use the directory"))?;
    let lock = take_lock(dir)?;
    let segments = segment::list(dir).map_err(fail("cannot list"))?;
    let Some(((name, path), before)) = segments.split_last() else {
        let mut metadata = Object::new();
        metadata.insert("event".to_owned(), Value::from("log_created"));
        metadata.insert(
            "created_at".to_owned(),
            Value::from(codec::timestamp_text(now)),
        );
        return Ok(Recovered {
            start: Start::New(None),
            last_hash: genesis()?,
            next_seq: 0,
            records: vec![Record::system(Kind::System, Status::Success, metadata)],
            report: Recovery::default(),
            lock,
        });
    };
    let file = segment::open_read_write(path).map_err(fail("cannot open the last segment in"))?;
    let (check, end) =
        check_end(name, &file, before).map_err(fail("cannot read the last segments in"))?;
    match end {
        SegmentEnd::Good { offset, torn_bytes } => {
            resume(name, file, offset, torn_bytes, check, options, lock)
        }
        SegmentEnd::Broken { found } => start_anew(name, found, check, lock),
    }
    .map_err(fail("cannot recover the log in"))
}

/// Checks the last segment, and the one before it when the last holds no entry yet.
fn check_end(
    name: &SegmentName,
    file: &File,
    before: &[(SegmentName, PathBuf)],
) -> io::Result<(Check, SegmentEnd)> {
    let empty = !matches!(
        Frames::new(file, 0, frame::READ_BYTES).next()?,
        Next::Frame { .. }
    );
    let mut check = match before.split_last() {
        Some(((earlier, path), before)) if empty => {
            let mut check = Check::after(before)?;
            let end = check.segment(earlier, &File::open(path)?)?;
            if matches!(end, SegmentEnd::Broken { .. }) {
                return Ok((check, end));
            }
            check
        }
        _ => Check::after(before)?,
    };
    let end = check.segment(name, file)?;
    Ok((check, end))
}

fn resume(
    name: &SegmentName,
    file: File,
    offset: u64,
    torn_bytes: u64,
    check: Check,
    options: &Options,
    lock: File,
) -> io::Result<Recovered> {
    let mut records = Vec::new();
    let length = file.metadata()?.len();
    if torn_bytes > 0 {
        // Cutting and reserving again leaves nothing but zeros.
        file.set_len(offset)?;
        segment::reserve(&file, length.max(offset))?;
        file.sync_all()?;
        let mut metadata = Object::new();
        metadata.insert("event".to_owned(), Value::from("torn_tail"));
        metadata.insert("file".to_owned(), Value::from(name.to_string()));
        metadata.insert("offset".to_owned(), Value::from(offset));
        metadata.insert("bytes".to_owned(), Value::from(torn_bytes));
        records.push(Record::system(Kind::System, Status::Error, metadata));
    }
    let (last_hash, created) = match check.last {
        Some(last) => (last.entry_hash, false),
        // The very first entry was torn: a chain starts here.
        None => (genesis().map_err(io::Error::other)?, true),
    };
    if created {
        let mut metadata = Object::new();
        metadata.insert("event".to_owned(), Value::from("log_created"));
        records.insert(0, Record::system(Kind::System, Status::Success, metadata));
    }
    let mut length = file.metadata()?.len();
    if offset == 0 && length < options.segment_bytes {
        // Made, but its space was not reserved yet.
        segment::reserve(&file, options.segment_bytes)?;
        length = options.segment_bytes;
    }
    // A segment that was sealed, or made with other settings, is not stretched.
    let size = length.min(options.segment_bytes.max(offset));
    Ok(Recovered {
        start: Start::Resume(Active::resume(name.clone(), file, offset, size)),
        last_hash,
        next_seq: check.next_seq,
        records,
        report: Recovery {
            torn_bytes,
            breaks: Vec::new(),
            last_seq: check.next_seq.checked_sub(1),
        },
        lock,
    })
}

/// Leaves the damaged segment as it is and starts a new chain behind it.
fn start_anew(
    name: &SegmentName,
    found: ChainBreak,
    check: Check,
    lock: File,
) -> io::Result<Recovered> {
    let genesis = genesis().map_err(io::Error::other)?;
    let mut metadata = Object::new();
    metadata.insert("event".to_owned(), Value::from("chain_break"));
    metadata.insert("file".to_owned(), Value::from(found.file.clone()));
    metadata.insert("offset".to_owned(), Value::from(found.offset));
    metadata.insert("broken_seq".to_owned(), Value::from(found.seq));
    metadata.insert("problem".to_owned(), Value::from(found.kind.clone()));
    metadata.insert("expected".to_owned(), Value::from(found.expected.clone()));
    metadata.insert("found".to_owned(), Value::from(found.found.clone()));
    Ok(Recovered {
        start: Start::New(Some(name.clone())),
        last_hash: genesis,
        next_seq: check.next_seq,
        records: vec![Record::system(Kind::ChainBreak, Status::Error, metadata)],
        report: Recovery {
            torn_bytes: 0,
            breaks: vec![found],
            last_seq: check.next_seq.checked_sub(1),
        },
        lock,
    })
}

fn genesis() -> Result<Hash, AuditError> {
    let mut hash = Hash::default();
    getrandom::fill(&mut hash).map_err(|error| AuditError::Io {
        context: "no random numbers".to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(hash)
}

fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))
}

fn take_lock(dir: &Path) -> Result<File, AuditError> {
    let path = dir.join("lock");
    let fail = |source| AuditError::Io {
        context: format!("cannot lock {}", path.display()),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AuditError::Locked(dir.display().to_string())),
        Err(error) => Err(fail(error.into())),
    }
}

/// The chain while the last segment is read.
struct Check {
    last: Option<Link>,
    next_seq: u64,
    /// The last segment is the first: its first entry may start a chain.
    first: bool,
}

enum SegmentEnd {
    Good { offset: u64, torn_bytes: u64 },
    Broken { found: ChainBreak },
}

impl Check {
    /// Starts behind the segments before the last. A sealed segment ends with its last entry's hash, so
    /// the link to it costs one small read. Its own inside is for `verify`.
    fn after(before: &[(SegmentName, PathBuf)]) -> io::Result<Self> {
        let mut last = None;
        for (_, path) in before.iter().rev() {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            if length == 0 {
                continue;
            }
            let mut tail = [0u8; 70];
            if let Some(at) = length.checked_sub(tail.len() as u64) {
                file.read_exact_at(&mut tail, at)?;
            }
            // The sequence number is not known from the tail; the first entry of the last segment says.
            last = codec::trailing_hashes(&tail).map(|(previous_hash, entry_hash)| Link {
                seq: 0,
                previous_hash,
                entry_hash,
            });
            break;
        }
        Ok(Self {
            last,
            next_seq: 0,
            first: before.is_empty(),
        })
    }

    fn segment(&mut self, name: &SegmentName, file: &File) -> io::Result<SegmentEnd> {
        let mut frames = Frames::new(file, 0, frame::READ_BYTES);
        let mut at_start = true;
        loop {
            let (offset, bad) = match frames.next()? {
                Next::Frame { offset, payload } => match self.entry(payload, at_start) {
                    Ok(()) => {
                        at_start = false;
                        continue;
                    }
                    Err(problem) => return self.broken(name, file, offset, problem),
                },
                Next::End { offset } => (offset, ("frame", None, None)),
                Next::Bad {
                    offset,
                    kind,
                    expected,
                    found,
                } => (offset, (kind, expected, found)),
            };
            let torn_bytes = match frame::tail(file, offset)? {
                Tail::Clean => 0,
                Tail::Torn { bytes } => bytes,
                Tail::Damaged { .. } => {
                    let (kind, expected, found) = bad;
                    let hex = |number: Option<u32>| number.map(|number| format!("{number:08x}"));
                    let (expected, found) = (hex(expected), hex(found));
                    let problem = Problem {
                        kind,
                        seq: Some(self.next_seq),
                        expected,
                        found,
                    };
                    return self.broken(name, file, offset, problem);
                }
            };
            return Ok(SegmentEnd::Good { offset, torn_bytes });
        }
    }

    /// Looks for the highest sequence number behind the damage, so that none is given twice.
    fn broken(
        &mut self,
        name: &SegmentName,
        file: &File,
        offset: u64,
        problem: Problem,
    ) -> io::Result<SegmentEnd> {
        let mut frames = Frames::new(file, offset, frame::READ_BYTES);
        problem.seq.into_iter().for_each(|seq| self.skip(seq));
        loop {
            match frames.next()? {
                Next::Frame { payload, .. } => {
                    if let Ok(link) = Link::of(payload) {
                        self.skip(link.seq);
                    }
                }
                Next::End { offset } | Next::Bad { offset, .. } => match frame::tail(file, offset)?
                {
                    Tail::Damaged { next: Some(next) } => frames.jump(next),
                    _ => break,
                },
            }
        }
        let found = ChainBreak {
            file: name.to_string(),
            seq: problem.seq,
            offset,
            kind: problem.kind.to_owned(),
            expected: problem.expected,
            found: problem.found,
        };
        Ok(SegmentEnd::Broken { found })
    }

    /// A number that is far off was made up by whoever changed the entry; it is not followed.
    fn skip(&mut self, seq: u64) {
        if seq < self.next_seq.saturating_add(MOST_SKIPPED) {
            self.next_seq = self.next_seq.max(seq + 1);
        }
    }

    fn entry(&mut self, payload: &[u8], at_start: bool) -> Result<(), Problem> {
        let Ok(link) = Link::of(payload) else {
            return Err(Problem {
                kind: "decode",
                seq: None,
                expected: None,
                found: None,
            });
        };
        let computed = codec::computed_hash(payload, &link.previous_hash);
        if computed != Some(link.entry_hash) {
            let expected = computed.map(|hash| HEXLOWER.encode(&hash));
            return Err(Problem {
                kind: "hash_mismatch",
                seq: Some(link.seq),
                expected,
                found: Some(HEXLOWER.encode(&link.entry_hash)),
            });
        }
        // The first entry of the log and the one after a recorded break start a chain of their own.
        let starts_chain = at_start
            && (self.first
                || EntryRef::decode(payload).is_ok_and(|entry| entry.kind == Kind::ChainBreak));
        if !starts_chain
            && self
                .last
                .is_none_or(|last| last.entry_hash != link.previous_hash)
        {
            return Err(Problem {
                kind: "previous_hash",
                seq: Some(link.seq),
                expected: self.last.map(|last| HEXLOWER.encode(&last.entry_hash)),
                found: Some(HEXLOWER.encode(&link.previous_hash)),
            });
        }
        if !at_start && link.seq != self.next_seq {
            return Err(Problem {
                kind: "sequence",
                seq: Some(link.seq),
                expected: Some(self.next_seq.to_string()),
                found: Some(link.seq.to_string()),
            });
        }
        self.next_seq = link.seq.saturating_add(1);
        self.last = Some(link);
        Ok(())
    }
}

struct Problem {
    kind: &'static str,
    seq: Option<u64>,
    expected: Option<String>,
    found: Option<String>,
}
