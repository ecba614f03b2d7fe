//! The files of the log: their names and order, and how they are made ahead of need.

use crate::AuditError;
use kruxos_types::Timestamp;
use rustix::fs::FallocateFlags;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The next segment, made ahead under a name that is no segment's.
pub(crate) const SPARE: &str = "spare.tmp";
/// Zeros are written this far ahead, so that a commit overwrites blocks that exist: the file system then
/// has no extent to convert, which would cost a journal commit each time.
const ZERO_CHUNK: u64 = 1 << 20;
/// More zeros are asked for when fewer than this are left.
const ZERO_LOW: u64 = ZERO_CHUNK / 2;

/// `audit-YYYY-MM-DD.NNN.log`: sorts in the order of the chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    day: String,
    number: u32,
}

impl SegmentName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (day, number) = name
            .strip_prefix("audit-")?
            .strip_suffix(".log")?
            .split_once('.')?;
        let day_ok = day.len() == 10
            && day.bytes().enumerate().all(|(at, byte)| {
                if at == 4 || at == 7 {
                    byte == b'-'
                } else {
                    byte.is_ascii_digit()
                }
            });
        let number_ok = number.len() >= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = Self {
            day: day.to_owned(),
            number: number.parse().ok()?,
        };
        (day_ok && number_ok && parsed.to_string() == name).then_some(parsed)
    }

    /// The name after `last` for an entry of that day. When the clock went back, the later day stays,
    /// so that the names keep the order of the chain.
    pub(crate) fn following(last: Option<&SegmentName>, at: Timestamp) -> Self {
        let day = day_of(at);
        match last {
            Some(last) if last.day >= day => Self {
                day: last.day.clone(),
                number: last.number + 1,
            },
            _ => Self { day, number: 0 },
        }
    }

    /// Whether an entry of this instant belongs to a later day.
    pub(crate) fn is_before(&self, day: &str) -> bool {
        self.day.as_str() < day
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "audit-{}.{:03}.log", self.day, self.number)
    }
}

/// The UTC day as `YYYY-MM-DD`.
pub(crate) fn day_of(at: Timestamp) -> String {
    let civil = jiff::tz::Offset::UTC.to_datetime(at);
    format!(
        "{:04}-{:02}-{:02}",
        civil.year(),
        civil.month(),
        civil.day()
    )
}

/// The log's segments in the order of the chain.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<(SegmentName, PathBuf)>> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(SegmentName::parse) {
            segments.push((name, entry.path()));
        }
    }
    segments.sort();
    Ok(segments)
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(crate) fn open_read_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Reserves the file's space. Where the file system cannot, the file is only made that long.
pub(crate) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}

/// A spare of other settings is none.
fn is_spare(path: &Path, bytes: u64) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.len() == bytes)
}

/// The keeper's part; the writer never touches a spare that is being made.
fn make_spare(dir: &Path, bytes: u64) -> io::Result<()> {
    let path = dir.join(SPARE);
    if is_spare(&path, bytes) {
        return Ok(());
    }
    // Under a third name until its space is reserved: a spare that is there is ready.
    let unfinished = dir.join("spare.new.tmp");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    reserve(&file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, &path)
}

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) name: SegmentName,
    pub(crate) file: Arc<File>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// Where the segment ends.
    pub(crate) size: u64,
    zeros: Arc<Zeros>,
}

impl Active {
    /// Goes on in a segment that exists; nothing but zeros lies behind `offset`.
    pub(crate) fn resume(name: SegmentName, file: File, offset: u64, size: u64) -> Self {
        Self {
            name,
            file: Arc::new(file),
            offset,
            size,
            zeros: Arc::new(Zeros::from(offset)),
        }
    }

    /// Takes the spare, or makes a segment now when none is ready.
    pub(crate) fn create(dir: &Path, name: SegmentName, size: u64) -> Result<Self, AuditError> {
        let fail = |source| AuditError::Io {
            context: format!("cannot make the segment {name}"),
            source,
        };
        let path = dir.join(name.to_string());
        if path.exists() {
            return Err(fail(io::ErrorKind::AlreadyExists.into()));
        }
        let spare = dir.join(SPARE);
        if is_spare(&spare, size) {
            std::fs::rename(&spare, &path).map_err(fail)?;
        } else {
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            made.and_then(|file| reserve(&file, size)).map_err(fail)?;
        }
        sync_dir(dir).map_err(fail)?;
        let file = open_read_write(&path).map_err(fail)?;
        Ok(Self {
            name,
            file: Arc::new(file),
            offset: 0,
            size,
            zeros: Arc::new(Zeros::from(0)),
        })
    }

    /// Writes frames behind the last one. They are on disk only after a sync.
    pub(crate) fn write(&mut self, frames: &[u8], keeper: &Keeper) -> io::Result<()> {
        let end = self.offset + frames.len() as u64;
        let zeroed = self.zeros.claim(end);
        self.file.write_all_at(frames, self.offset)?;
        self.offset = end;
        if zeroed < self.size && zeroed - end < ZERO_LOW {
            keeper.ask(Job::Zeros {
                file: Arc::clone(&self.file),
                zeros: Arc::clone(&self.zeros),
                size: self.size,
            });
        }
        Ok(())
    }

    /// Cuts what was reserved and not needed: a sealed segment ends with its last entry.
    pub(crate) fn seal(&self) -> io::Result<()> {
        self.zeros.stop();
        self.file.set_len(self.offset)?;
        self.file.sync_all()
    }
}

/// How far a segment has been filled with zeros, shared by the writer and the keeper.
#[derive(Debug)]
struct Zeros {
    state: Mutex<ZeroState>,
    done: Condvar,
}

#[derive(Debug)]
struct ZeroState {
    zeroed: u64,
    /// The keeper is writing zeros up to here.
    busy_to: u64,
    /// The segment is sealed: zeros written now would stretch it again.
    stopped: bool,
}

impl Zeros {
    fn from(offset: u64) -> Self {
        Self {
            state: Mutex::new(ZeroState {
                zeroed: offset,
                busy_to: offset,
                stopped: false,
            }),
            done: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ZeroState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that nobody writes zeros before `end` any more; gives the new mark.
    fn claim(&self, end: u64) -> u64 {
        let mut state = self.lock();
        while end > state.zeroed && state.busy_to > state.zeroed {
            state = self
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.zeroed = state.zeroed.max(end);
        state.busy_to = state.busy_to.max(state.zeroed);
        state.zeroed
    }

    /// Waits for the keeper to be done with the segment and keeps it away from then on.
    fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        while state.busy_to > state.zeroed {
            state = self
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn extend(&self, file: &File, size: u64) -> io::Result<()> {
        let (from, to) = {
            let mut state = self.lock();
            if state.stopped {
                return Ok(());
            }
            let to = state.zeroed.saturating_add(ZERO_CHUNK).min(size);
            state.busy_to = to;
            (state.zeroed, to)
        };
        let zeros = vec![0; to.saturating_sub(from) as usize];
        let result = file
            .write_all_at(&zeros, from)
            .and_then(|()| file.sync_data());
        let mut state = self.lock();
        if result.is_ok() {
            state.zeroed = to;
        }
        state.busy_to = state.zeroed;
        drop(state);
        self.done.notify_all();
        result
    }
}

#[derive(Debug)]
enum Job {
    Spare {
        dir: PathBuf,
        size: u64,
    },
    Zeros {
        file: Arc<File>,
        zeros: Arc<Zeros>,
        size: u64,
    },
}

/// A thread that makes the next segment and writes zeros ahead, so that the writer never waits for it.
#[derive(Debug)]
pub(crate) struct Keeper {
    jobs: SyncSender<Job>,
}

impl Keeper {
    /// Starts the thread; it ends when the keeper is dropped.
    pub(crate) fn start() -> io::Result<(Self, std::thread::JoinHandle<()>)> {
        // One spare and one stretch of zeros can be wanted at a time.
        let (jobs, work) = sync_channel(4);
        let thread = std::thread::Builder::new()
            .name("audit-keeper".to_owned())
            .spawn(move || keep(&work))?;
        Ok((Self { jobs }, thread))
    }

    /// Wants the next segment made.
    pub(crate) fn prepare_spare(&self, dir: &Path, size: u64) {
        self.ask(Job::Spare {
            dir: dir.to_owned(),
            size,
        });
    }

    fn ask(&self, job: Job) {
        // Full: the same was asked for already, and what is missing is asked for again by the next write.
        if self.jobs.try_send(job).is_err() {
            tracing::trace!("the audit log's keeper is busy");
        }
    }
}

fn keep(work: &Receiver<Job>) {
    for job in work {
        // Not fatal: without a spare or zeros the writer makes its own room, and reports its own failure.
        let result = match job {
            Job::Spare { dir, size } => make_spare(&dir, size),
            Job::Zeros { file, zeros, size } => zeros.extend(&file, size),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "cannot prepare room for the audit log ahead");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_sort_in_the_order_of_the_chain() {
        let at: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let first = SegmentName::following(None, at);
        assert_eq!(first.to_string(), "audit-2026-03-01.000.log");
        let second = SegmentName::following(Some(&first), at);
        assert_eq!(second.to_string(), "audit-2026-03-01.001.log");
        let earlier: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let back = SegmentName::following(Some(&second), earlier);
        assert_eq!(back.to_string(), "audit-2026-03-01.002.log");
        let later: Timestamp = "2026-03-02T23:00:00Z".parse().unwrap();
        assert_eq!(
            SegmentName::following(Some(&back), later).to_string(),
            "audit-2026-03-02.000.log"
        );
        assert!(first < second && second < back);
        let many = SegmentName {
            day: "2026-03-01".to_owned(),
            number: 1000,
        };
        assert!(
            SegmentName {
                number: 999,
                ..many.clone()
            } < many
        );
        assert_eq!(SegmentName::parse(&many.to_string()), Some(many));
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in [
            "audit-2026-03-01.log",
            "audit-2026-3-1.000.log",
            "audit-2026-03-01.00.log",
            "audit-2026-03-01.0000.log",
            "index.db",
            "audit-2026-03-01.000.log.bak",
        ] {
            assert_eq!(SegmentName::parse(name), None, "{name}");
        }
    }
}
