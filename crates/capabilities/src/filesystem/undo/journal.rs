//! One principal's journals, one file for each session, and the content store beside them. They lie in
//! the trash's directory, which no program of an agent sees.

use super::super::io::{Grown, read_whole, size_of, write_all};
use super::super::roots::{DIRECTORY, READ, open_beneath};
use super::quota;
use super::record::{Line, Record, Story};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Below a principal's trash.
pub(crate) const AREA: &str = "changes";
/// Below the area: a journal for each session, and what they refer to.
pub(crate) const SESSIONS: &str = "sessions";
pub(crate) const OBJECTS: &str = "objects";
/// One session's journal, in bytes: some 20,000 changes. Later ones are made and not recorded.
pub(crate) const MAX_JOURNAL: u64 = 16 << 20;
/// What may follow a full journal: marks of what was undone.
const MAX_MARKS: u64 = 4 << 20;
/// Longest name of a session, in bytes.
const MAX_SESSION: usize = 64;

/// The opened area.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) sessions: OwnedFd,
    pub(crate) objects: OwnedFd,
}

impl Area {
    /// Opens it below a trash; with `make` it is made where missing, else `ENOENT`.
    pub(crate) fn open(trash: &OwnedFd, make: bool) -> Result<Area, Errno> {
        let area = directory(trash, AREA, make)?;
        Ok(Area {
            sessions: directory(&area, SESSIONS, make)?,
            objects: directory(&area, OBJECTS, make)?,
        })
    }

    /// A session's journal; `None` if it has none.
    pub(crate) fn story(&self, session: &str) -> Result<Option<Story>, Errno> {
        if !is_session(session) {
            return Ok(None);
        }
        let file = match open_beneath(
            self.sessions.as_fd(),
            session,
            READ,
            ResolveFlags::NO_SYMLINKS,
        ) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let size = size_of(&rustix::fs::fstat(&file)?);
        let bytes = read_whole(&file, size, MAX_JOURNAL + MAX_MARKS)?.ok_or(Errno::FBIG)?;
        Ok(Some(Story::read(&bytes)))
    }
}

fn directory(parent: &OwnedFd, name: &str, make: bool) -> Result<OwnedFd, Errno> {
    let open = || open_beneath(parent.as_fd(), name, DIRECTORY, ResolveFlags::NO_SYMLINKS);
    match open() {
        Err(Errno::NOENT) if make => {}
        other => return other,
    }
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => open(),
        Err(errno) => Err(errno),
    }
}

/// Whether a name may be a session's.
pub(crate) fn is_session(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= MAX_SESSION && name.bytes().all(plain)
}

/// A journal that was written to last.
struct Open {
    session: String,
    file: OwnedFd,
    full: bool,
}

/// Writes a principal's journals. Nothing is made on disk before the first record.
pub(crate) struct Journal {
    /// Bytes for content and journals together.
    pub(crate) quota: u64,
    area: Mutex<Option<Arc<Area>>>,
    open: Mutex<Option<Open>>,
    used: quota::Used,
    pub(crate) grown: Grown,
}

impl Journal {
    pub(crate) fn new(quota: u64) -> Journal {
        Journal {
            quota,
            area: Mutex::default(),
            open: Mutex::default(),
            used: quota::Used::default(),
            grown: Grown::default(),
        }
    }

    /// The area below this trash, made where missing.
    pub(crate) fn area(&self, trash: &OwnedFd) -> Result<Arc<Area>, Errno> {
        let mut known = lock(&self.area);
        if let Some(area) = &*known {
            return Ok(area.clone());
        }
        let area = Arc::new(Area::open(trash, true)?);
        *known = Some(area.clone());
        Ok(area)
    }

    /// Writes a record and gives it its number; `None` if the journal is full. The caller holds the lock
    /// of the trash.
    pub(crate) fn begin(
        &self,
        area: &Area,
        session: &str,
        record: Record,
    ) -> Result<Option<u64>, Errno> {
        self.with_open(area, session, |open| {
            let end = size_of(&rustix::fs::fstat(&open.file)?);
            let line = Line::Intent(Record { seq: end, ..record });
            let text = encode(&line)?;
            if end.saturating_add(text.len() as u64) > MAX_JOURNAL {
                if !open.full {
                    write_all(&open.file, &encode(&Line::Full)?)?;
                    open.full = true;
                }
                return Ok(None);
            }
            write_all(&open.file, &text)?;
            Ok(Some(end))
        })
    }

    /// Writes what became of a record.
    pub(crate) fn mark(&self, area: &Area, session: &str, line: &Line) -> Result<(), Errno> {
        let text = encode(line)?;
        self.with_open(area, session, |open| write_all(&open.file, &text))
    }

    fn with_open<T>(
        &self,
        area: &Area,
        session: &str,
        work: impl FnOnce(&mut Open) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if !is_session(session) {
            return Err(Errno::INVAL);
        }
        let mut known = lock(&self.open);
        let same = known.take().filter(|open| open.session == session);
        let open = match same {
            // Housekeeping may have taken it away meanwhile.
            Some(open) if rustix::fs::fstat(&open.file)?.st_nlink > 0 => open,
            _ => Open {
                session: session.to_owned(),
                file: journal_file(area, session)?,
                full: false,
            },
        };
        work(known.insert(open))
    }

    /// Counts content that was kept, and makes room where the quota is passed.
    pub(crate) fn count(&self, area: &Area, session: &str, bytes: u64) -> Result<(), Errno> {
        self.used.add(area, bytes, self.quota, session)
    }
}

fn journal_file(area: &Area, session: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::APPEND
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK;
    rustix::fs::openat(&area.sessions, session, flags, Mode::from_raw_mode(0o600))
}

/// A line with a break before it too: what a crash tore ends there.
fn encode(line: &Line) -> Result<Vec<u8>, Errno> {
    let mut text = vec![b'\n'];
    serde_json::to_writer(&mut text, line).map_err(|_| Errno::INVAL)?;
    text.push(b'\n');
    Ok(text)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
