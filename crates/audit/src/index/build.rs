use super::FILE;
use crate::codec::EntryRef;
use crate::entry::{Kind, Status, entry_json};
use crate::frame::{self, Frames, Next, Tail};
use crate::log::{AuditError, Shared};
use crate::segment::{self, SegmentName};
use kruxos_types::{PrincipalKind, Timestamp};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The layout of the index. Another one is thrown away and built again.
const LAYOUT: i64 = 2;
/// Rows for each transaction: enough to make its cost small, few enough to keep the WAL short.
const BATCH: usize = 5_000;
/// Names kept at hand; sessions come and go, so the table is emptied when it is full.
const NAMES_AT_HAND: usize = 10_000;

/// Nearly every entry is a call that went well: a walk over the table finds those as fast as an index
/// on kind and status would, so that only the rest is indexed by them. Zero is the first kind and status.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS entry (
  seq INTEGER PRIMARY KEY, id BLOB NOT NULL, at INTEGER NOT NULL, actor_kind INTEGER NOT NULL, actor INTEGER NOT NULL,
  session INTEGER, capability INTEGER, kind INTEGER NOT NULL, status INTEGER NOT NULL, duration_us INTEGER,
  segment INTEGER NOT NULL, offset INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_at ON entry (at);
CREATE INDEX IF NOT EXISTS entry_actor ON entry (actor);
CREATE INDEX IF NOT EXISTS entry_session ON entry (session) WHERE session IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_capability ON entry (capability) WHERE capability IS NOT NULL;
CREATE INDEX IF NOT EXISTS entry_kind ON entry (kind) WHERE kind <> 0;
CREATE INDEX IF NOT EXISTS entry_status ON entry (status) WHERE status <> 0;
";

/// How much of a segment is read at once; the usual pass finds a few new entries.
const READ_BYTES: usize = 64 * 1024;

/// A segment while it is read.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a SegmentName,
    file: &'a File,
    newest: bool,
    /// Entries from here on are not on disk for certain.
    durable: u64,
}

/// Why reading paused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The transaction is full.
    Batch,
    /// The segment holds nothing more for now.
    Segment,
    /// The next entry is written but not yet on disk.
    NotDurable,
}

/// Fills the index.
pub(super) struct Builder {
    connection: Connection,
    names: HashMap<String, i64>,
    /// The segment and place up to which everything is indexed.
    cursor: Option<(SegmentName, u64)>,
    indexed: u64,
}

pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

pub(super) fn open_reader(dir: &Path) -> Result<Connection, AuditError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join(FILE), flags)?;
    connection.busy_timeout(super::PATIENCE)?;
    Ok(connection)
}

/// Deletes the index.
pub(super) fn remove(dir: &Path) -> Result<(), AuditError> {
    for suffix in ["", "-wal", "-shm"] {
        let path = dir.join(format!("{FILE}{suffix}"));
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(AuditError::Io {
                    context: format!("cannot remove {}", path.display()),
                    source,
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Changes with every start of the machine; empty where the kernel does not say.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

impl Builder {
    /// Opens the index if it fits the log, or starts a new one.
    pub(super) fn open(shared: &Shared) -> Result<Self, AuditError> {
        match Self::open_existing(shared) {
            Ok(Some(builder)) => return Ok(builder),
            Ok(None) => {}
            Err(error) if is_corrupt(&error) => {
                tracing::warn!(%error, "the audit index is damaged and built again");
            }
            Err(error) => return Err(error.into()),
        }
        remove(&shared.dir)?;
        let connection = Self::connect(&shared.dir)?;
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", LAYOUT)?;
        let builder = Self {
            connection,
            names: HashMap::new(),
            cursor: None,
            indexed: 0,
        };
        builder.mark(false)?;
        Ok(builder)
    }

    fn connect(dir: &Path) -> rusqlite::Result<Connection> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = dir.join(FILE);
        // SQLite gives its other files the mode of this one.
        let made = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path);
        if let Err(error) = made {
            tracing::warn!(%error, "cannot make the audit index");
        }
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Rebuildable, so nothing waits for the disk; after a loss of power it is built again.
        connection.pragma_update(None, "synchronous", "OFF")?;
        Ok(connection)
    }

    fn open_existing(shared: &Shared) -> rusqlite::Result<Option<Self>> {
        if !shared.dir.join(FILE).exists() {
            return Ok(None);
        }
        let connection = Self::connect(&shared.dir)?;
        let layout: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if layout != LAYOUT {
            return Ok(None);
        }
        let meta = |key: &str| -> rusqlite::Result<Option<String>> {
            connection
                .query_row(
                    "SELECT CAST(value AS TEXT) FROM meta WHERE key = ?1",
                    [key],
                    |row| row.get(0),
                )
                .optional()
        };
        // Left open by a boot that ended: what SQLite had not been made to sync may be missing.
        let boot = meta("boot")?.unwrap_or_default();
        if meta("clean")?.as_deref() != Some("1") && (boot.is_empty() || boot != boot_id()) {
            return Ok(None);
        }
        let indexed = meta("indexed")?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let offset = meta("offset")?
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let cursor = meta("segment")?
            .and_then(|name| SegmentName::parse(&name))
            .map(|name| (name, offset));
        let builder = Self {
            connection,
            names: HashMap::new(),
            cursor,
            indexed,
        };
        if !builder.fits(shared) {
            return Ok(None);
        }
        builder.mark(false)?;
        Ok(Some(builder))
    }

    /// Whether the log still is the one that was indexed: not behind, and its segment is there.
    fn fits(&self, shared: &Shared) -> bool {
        let there = self.cursor.as_ref().is_none_or(|(name, offset)| {
            let meta = shared.dir.join(name.to_string()).metadata();
            meta.is_ok_and(|meta| meta.len() >= *offset)
        });
        there
            && self.indexed <= shared.durable.load(Ordering::Acquire)
            && self.last_is_there(shared).unwrap_or(false)
    }

    /// Whether the newest indexed entry still stands where it stood: a log that lost its end and went
    /// on has others in its place.
    fn last_is_there(&self, shared: &Shared) -> Option<bool> {
        let newest = "SELECT name.text, offset, entry.id FROM entry JOIN name ON name.id = segment ORDER BY seq DESC LIMIT 1";
        let place = |row: &rusqlite::Row<'_>| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, [u8; 16]>(2)?,
            ))
        };
        let Some((segment, offset, id)) = self
            .connection
            .query_row(newest, [], place)
            .optional()
            .ok()?
        else {
            return Some(self.indexed == 0);
        };
        let file = File::open(shared.dir.join(segment)).ok()?;
        let payload = frame::read_one(&file, offset.unsigned_abs()).ok()??;
        Some(EntryRef::decode(&payload).ok()?.id == id)
    }

    fn mark(&self, clean: bool) -> rusqlite::Result<()> {
        let mut put = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
        put.execute(params!["boot", boot_id()])?;
        put.execute(params!["clean", i64::from(clean)])?;
        Ok(())
    }

    /// Notes that everything reached the file.
    pub(super) fn close(self) {
        let synced = self
            .connection
            .pragma_update(None, "synchronous", "FULL")
            .and_then(|()| self.mark(true))
            .and_then(|()| {
                self.connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            });
        if let Err(error) = synced {
            tracing::warn!(%error, "the audit index was not closed cleanly");
        }
    }

    /// Indexes everything that is durable; gives the first sequence number that is not indexed.
    pub(super) fn catch_up(&mut self, shared: &Shared) -> Result<u64, AuditError> {
        let durable = shared.durable.load(Ordering::Acquire);
        while self.indexed < durable {
            // Listed before it is read: when a later one exists, this one is complete.
            let segments = segment::list(&shared.dir).map_err(io_error)?;
            let start = match &self.cursor {
                Some((name, offset)) => segments
                    .iter()
                    .position(|(at, _)| at == name)
                    .map(|at| (at, *offset)),
                None => Some((0, 0)),
            };
            let Some((at, offset)) = start else {
                return Err(AuditError::Index(corrupt("the indexed segment is gone")));
            };
            let Some((name, path)) = segments.get(at) else {
                break;
            };
            let later = segments.get(at + 1).map(|(name, _)| name.clone());
            let file = File::open(path).map_err(io_error)?;
            let place = Place {
                name,
                file: &file,
                newest: later.is_none(),
                durable,
            };
            let end = self.segment(shared, place, offset)?;
            match later {
                _ if end == End::NotDurable => break,
                Some(later) => self.cursor = Some((later, 0)),
                None => {
                    // What is durable was there when the segments were listed: all of it has been read.
                    self.indexed = self.indexed.max(durable);
                }
            }
        }
        Ok(self.indexed)
    }

    /// Indexes one segment from `offset`.
    fn segment(
        &mut self,
        shared: &Shared,
        place: Place<'_>,
        offset: u64,
    ) -> Result<End, AuditError> {
        let mut frames = Frames::new(place.file, offset, READ_BYTES);
        let mut end = offset;
        loop {
            self.connection.execute_batch("BEGIN")?;
            let done = self.batch(shared, place, &mut frames, &mut end);
            if done.is_err() {
                self.connection.execute_batch("ROLLBACK")?;
                self.names.clear();
            }
            let done = done?;
            self.cursor = Some((place.name.clone(), end));
            {
                let mut put = self
                    .connection
                    .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?;
                put.execute(params!["segment", place.name.to_string()])?;
                put.execute(params!["offset", end.to_string()])?;
                put.execute(params!["indexed", self.indexed.to_string()])?;
            }
            self.connection.execute_batch("COMMIT")?;
            if done != End::Batch {
                return Ok(done);
            }
        }
    }

    /// Up to [`BATCH`] entries.
    fn batch(
        &mut self,
        shared: &Shared,
        place: Place<'_>,
        frames: &mut Frames<'_>,
        end: &mut u64,
    ) -> Result<End, AuditError> {
        let segment = self.name(&place.name.to_string())?;
        let live = shared.live.receiver_count() > 0;
        for _ in 0..BATCH {
            match frames.next().map_err(io_error)? {
                Next::Frame { offset, payload } => {
                    let frame_end = offset + (frame::HEADER_BYTES + payload.len()) as u64;
                    // What does not decode is for `verify` to report; it cannot be found by a query.
                    if let Ok(entry) = EntryRef::decode(payload) {
                        if entry.seq < place.durable {
                            self.insert(&entry, segment, offset)?;
                            if live {
                                publish(shared, entry);
                            }
                            self.indexed = self.indexed.max(entry.seq + 1);
                        } else if entry.seq < shared.appended() {
                            return Ok(End::NotDurable);
                        }
                        // Else the number was made up: no such entry was ever given out.
                    }
                    *end = frame_end;
                }
                // The usual end, without a look at what lies behind it.
                Next::End { .. } if place.newest && self.indexed >= place.durable => {
                    return Ok(End::Segment);
                }
                Next::End { offset } | Next::Bad { offset, .. } => {
                    match frame::tail(place.file, offset).map_err(io_error)? {
                        Tail::Damaged { next: Some(next) } => {
                            *end = next;
                            frames.jump(next);
                        }
                        _ => return Ok(End::Segment),
                    }
                }
            }
        }
        Ok(End::Batch)
    }

    fn insert(
        &mut self,
        entry: &EntryRef<'_>,
        segment: i64,
        offset: u64,
    ) -> Result<(), AuditError> {
        let at: Option<Timestamp> = entry.timestamp.parse().ok();
        let actor = self.name(entry.actor_name)?;
        let session = entry.session_id.map(|text| self.name(text)).transpose()?;
        let capability = entry.capability.map(|text| self.name(text)).transpose()?;
        let mut insert = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO entry VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
        )?;
        insert.execute(params![
            entry.seq as i64,
            entry.id,
            at.map_or(0, Timestamp::as_microsecond),
            actor_number(entry.actor_kind),
            actor,
            session,
            capability,
            kind_number(entry.kind),
            status_number(entry.status),
            entry
                .duration_us
                .map(|us| i64::try_from(us).unwrap_or(i64::MAX)),
            segment,
            offset as i64,
        ])?;
        Ok(())
    }

    fn name(&mut self, text: &str) -> Result<i64, AuditError> {
        if let Some(id) = self.names.get(text) {
            return Ok(*id);
        }
        let found = self
            .connection
            .prepare_cached("SELECT id FROM name WHERE text = ?1")?
            .query_row([text], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                self.connection
                    .prepare_cached("INSERT INTO name (text) VALUES (?1)")?
                    .execute([text])?;
                self.connection.last_insert_rowid()
            }
        };
        if self.names.len() >= NAMES_AT_HAND {
            self.names.clear();
        }
        self.names.insert(text.to_owned(), id);
        Ok(id)
    }
}

fn publish(shared: &Shared, entry: EntryRef<'_>) {
    if let Ok(entry) = entry.to_entry() {
        // The last receiver may just have gone.
        if shared.live.send(Arc::new(entry_json(&entry))).is_err() {
            tracing::trace!("nobody follows the audit log any more");
        }
    }
}

fn io_error(source: std::io::Error) -> AuditError {
    AuditError::Io {
        context: "cannot read a segment for the index".to_owned(),
        source,
    }
}

fn corrupt(message: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(message.to_owned()))
}

/// Stored numbers are the positions in the lists of the types; a new kind goes to the end.
pub(super) fn kind_number(kind: Kind) -> i64 {
    kind as i64
}

pub(super) fn status_number(status: Status) -> i64 {
    status as i64
}

pub(super) fn actor_number(kind: PrincipalKind) -> i64 {
    match kind {
        PrincipalKind::Agent => 0,
        PrincipalKind::User => 1,
        PrincipalKind::System => 2,
    }
}
