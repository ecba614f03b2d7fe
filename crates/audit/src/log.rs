//! The open log as its callers see it: a bounded queue in front of one writer thread.

use crate::codec::{Body, Ending, Prepared};
use crate::entry::{Durability, Encoded, Entry, Finished, Kind, Record, Status};
use crate::index::Index;
use crate::recovery::{self, Recovery};
use crate::segment::Keeper;
use crate::writer::Writer;
use kruxos_types::{Clock, Object, Timestamp};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{broadcast, oneshot};

/// The usual [`Options::segment_bytes`]: about 150,000 entries.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
/// Smallest segment that is accepted: the largest entry must fit.
pub const MIN_SEGMENT_BYTES: u64 = 2 * crate::codec::MAX_ENTRY_BYTES as u64;
/// Most entries that wait for the writer or are owed by calls that have begun (spec/audit.md).
pub const MAX_QUEUED: usize = 10_000;
/// Most encoded bytes that wait for the writer.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Most entries that a slow live tail may lag behind before it loses some.
const LIVE_CAPACITY: usize = 1024;

/// Settings.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Options {
    /// `audit.include_content`: store file contents and bodies instead of size and SHA-256.
    pub include_content: bool,
    /// `audit.durability: strict`: every append waits.
    pub strict: bool,
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            include_content: false,
            strict: false,
            segment_bytes: DEFAULT_SEGMENT_BYTES,
        }
    }
}

/// Why the log cannot take an entry.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AuditError {
    #[error("another process writes the audit log at {0}")]
    Locked(String),
    #[error("audit log: {context}")]
    Io {
        context: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the audit log has stopped: {0}")]
    Stopped(String),
    /// The bound that was reached, [`MAX_QUEUED`] or [`MAX_QUEUED_BYTES`].
    #[error("the audit log is behind: {0} are waiting to be written")]
    Full(String),
    #[error("audit index: {0}")]
    Index(#[from] rusqlite::Error),
    #[error("the audit index is being built: {indexed} of {entries} entries")]
    Indexing { indexed: u64, entries: u64 },
}

/// An entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Position {
    pub seq: u64,
}

pub(crate) type Waiter = oneshot::Sender<Result<(), Arc<str>>>;
type Waiting = oneshot::Receiver<Result<(), Arc<str>>>;

/// An entry on its way to the writer. Its place and time are settled already.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) body: Body,
    pub(crate) waiter: Option<Waiter>,
}

/// What the writer does while it has nothing to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It is writing and will look at the queue again by itself.
    Busy,
    /// It sleeps until it is woken.
    Idle,
    /// It sleeps until the oldest entry is due; only an urgent one wakes it.
    Due,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) entries: Vec<Pending>,
    pub(crate) flushes: Vec<Waiter>,
    pub(crate) next_seq: u64,
    pub(crate) bytes: usize,
    /// Entries that calls which have begun will still append.
    reserved: usize,
    /// Somebody waits: do not let it rest until the oldest is due.
    pub(crate) urgent: bool,
    pub(crate) rest: Rest,
    pub(crate) closing: bool,
    pub(crate) stopped: Option<Arc<str>>,
}

/// What callers, writer and indexer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    pub(crate) wake: Condvar,
    /// One more than the last sequence number on disk.
    pub(crate) durable: AtomicU64,
    pub(crate) live: broadcast::Sender<Arc<Value>>,
    pub(crate) index: Index,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for one entry, and for the one that ends the call when `owed` is 1.
    fn admit(queue: &Queue, entries: usize) -> Result<(), AuditError> {
        if let Some(cause) = &queue.stopped {
            return Err(AuditError::Stopped(cause.to_string()));
        }
        if queue.entries.len() + queue.reserved + entries > MAX_QUEUED {
            return Err(AuditError::Full(format!("{MAX_QUEUED} entries")));
        }
        if queue.bytes >= MAX_QUEUED_BYTES {
            return Err(AuditError::Full(format!("{MAX_QUEUED_BYTES} bytes")));
        }
        Ok(())
    }

    /// Puts an entry in its place in the queue; wakes the writer when it has to know.
    fn push(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        body: Body,
        waits: bool,
    ) -> (Position, Option<Waiting>) {
        let seq = queue.next_seq;
        queue.next_seq += 1;
        queue.bytes += body.len();
        let (waiter, waiting) = if waits {
            let (waiter, waiting) = oneshot::channel();
            (Some(waiter), Some(waiting))
        } else {
            (None, None)
        };
        // Under the lock, so that times follow the sequence as far as the clock lets them.
        let at = self.clock.now();
        queue.entries.push(Pending {
            seq,
            at,
            body,
            waiter,
        });
        let crowded = queue.entries.len() == MAX_QUEUED / 8;
        self.nudge(queue, waits || crowded);
        (Position { seq }, waiting)
    }

    fn nudge(&self, mut queue: MutexGuard<'_, Queue>, urgent: bool) {
        queue.urgent |= urgent;
        let wake = match queue.rest {
            Rest::Busy => false,
            Rest::Idle => true,
            Rest::Due => urgent,
        };
        if wake {
            queue.rest = Rest::Busy;
        }
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Waits until everything appended so far is on disk: a place in the queue of the writer.
    pub(crate) fn ask_flush(&self) -> Result<Option<Waiting>, AuditError> {
        let mut queue = self.lock();
        if let Some(cause) = &queue.stopped {
            return Err(AuditError::Stopped(cause.to_string()));
        }
        if self.durable.load(Ordering::Acquire) >= queue.next_seq {
            return Ok(None);
        }
        let (waiter, waiting) = oneshot::channel();
        queue.flushes.push(waiter);
        self.nudge(queue, true);
        Ok(Some(waiting))
    }

    pub(crate) fn appended(&self) -> u64 {
        self.lock().next_seq
    }
}

async fn wait(waiting: Option<Waiting>) -> Result<(), AuditError> {
    match waiting {
        None => Ok(()),
        Some(waiting) => answer(waiting.await),
    }
}

fn answer(
    answer: Result<Result<(), Arc<str>>, oneshot::error::RecvError>,
) -> Result<(), AuditError> {
    match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(cause)) => Err(AuditError::Stopped(cause.to_string())),
        Err(_) => Err(AuditError::Stopped("its writer has ended".to_owned())),
    }
}

/// Ends the threads when the last handle goes: everything queued is written first.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// Writer, keeper, indexer: each ends when the one before it has.
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closing = true;
        self.shared.nudge(queue, true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            if thread.join().is_err() {
                tracing::error!("a thread of the audit log ended by a panic");
            }
        }
    }
}

/// The open log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditLog {
    handle: Arc<Handle>,
}

impl AuditLog {
    /// Opens or creates the log, recovers a torn tail, checks the last segment's chain and starts a new
    /// chain after a break.
    ///
    /// # Errors
    /// Another writer, or the directory cannot be used.
    pub fn open(
        dir: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(AuditLog, Recovery), AuditError> {
        let mut options = options;
        options.segment_bytes = options.segment_bytes.max(MIN_SEGMENT_BYTES);
        let found = recovery::recover(dir, &options, clock.now())?;
        let report = found.report.clone();
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            clock,
            queue: Mutex::new(Queue {
                entries: Vec::new(),
                flushes: Vec::new(),
                next_seq: found.next_seq,
                bytes: 0,
                reserved: 0,
                urgent: false,
                rest: Rest::Busy,
                closing: false,
                stopped: None,
            }),
            wake: Condvar::new(),
            durable: AtomicU64::new(found.next_seq),
            live: broadcast::channel(LIVE_CAPACITY).0,
            index: Index::default(),
            options,
        });
        let thread = |source| AuditError::Io {
            context: "cannot start a thread".to_owned(),
            source,
        };
        let (keeper, keeping) = Keeper::start().map_err(thread)?;
        keeper.prepare_spare(dir, shared.options.segment_bytes);
        for record in found.records {
            let (prepared, ending) = Prepared::new(record, shared.options.include_content);
            let body = prepared.body(ending, shared.options.include_content);
            shared.push(shared.lock(), body, false);
        }
        let mut writer = Writer::new(
            Arc::clone(&shared),
            keeper,
            found.start,
            found.last_hash,
            found.lock,
        );
        // What recovery found is on disk before anything else is accepted.
        writer.commit_queued()?;
        let writing = std::thread::Builder::new()
            .name("audit-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(thread)?;
        let indexing = crate::index::start(&shared).map_err(thread)?;
        let handle = Handle {
            shared,
            threads: vec![writing, keeping, indexing],
        };
        Ok((
            AuditLog {
                handle: Arc::new(handle),
            },
            report,
        ))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Redacts and encodes a part that many entries will share.
    #[must_use]
    pub fn encode(&self, json: &Value) -> Encoded {
        let include_content = self.shared().options.include_content;
        Encoded(crate::codec::encoded(json, include_content).into())
    }

    /// Begins a call that only reads: no intent is written, its one entry follows within 10 ms of its end.
    ///
    /// # Errors
    /// The log has stopped or is full.
    pub fn begin_read(&self, record: Record) -> Result<Begun, AuditError> {
        let shared = self.shared();
        {
            let mut queue = shared.lock();
            Shared::admit(&queue, 1)?;
            queue.reserved += 1;
        }
        let (prepared, _) = Prepared::new(record, shared.options.include_content);
        Ok(Begun {
            log: self.clone(),
            prepared: Some(prepared),
            waits: shared.options.strict,
            intent: None,
        })
    }

    /// Begins a call with side effects: an intent entry is queued at once; [`Begun::durable`] waits for it.
    ///
    /// # Errors
    /// The log has stopped or is full.
    pub fn begin_effect(&self, record: Record) -> Result<Begun, AuditError> {
        let shared = self.shared();
        Shared::admit(&shared.lock(), 2)?;
        let (mut prepared, mut ending) = Prepared::new(record, shared.options.include_content);
        ending.kind = Kind::Intent;
        let body = prepared.body(ending, shared.options.include_content);
        let mut queue = shared.lock();
        Shared::admit(&queue, 2)?;
        queue.reserved += 1;
        let (position, waiting) = shared.push(queue, body, true);
        prepared
            .metadata
            .insert("intent_seq".to_owned(), Value::from(position.seq));
        Ok(Begun {
            log: self.clone(),
            prepared: Some(prepared),
            waits: true,
            intent: waiting,
        })
    }

    /// Appends one entry on its own. With [`Durability::Waited`] resolves when it is on disk.
    ///
    /// # Errors
    /// The log has stopped or is full.
    pub async fn append(
        &self,
        record: Record,
        durability: Durability,
    ) -> Result<Position, AuditError> {
        let shared = self.shared();
        let waits = durability == Durability::Waited || shared.options.strict;
        Shared::admit(&shared.lock(), 1)?;
        let (prepared, ending) = Prepared::new(record, shared.options.include_content);
        let body = prepared.body(ending, shared.options.include_content);
        let (position, waiting) = {
            let queue = shared.lock();
            Shared::admit(&queue, 1)?;
            shared.push(queue, body, waits)
        };
        wait(waiting).await?;
        Ok(position)
    }

    /// Waits until everything appended so far is on disk.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn flush(&self) -> Result<(), AuditError> {
        wait(self.shared().ask_flush()?).await
    }

    /// The last sequence number that is on disk.
    #[must_use]
    pub fn durable_seq(&self) -> Option<u64> {
        self.shared().durable.load(Ordering::Acquire).checked_sub(1)
    }

    /// Why the log refuses entries, when it does.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.shared().lock().stopped.as_deref().map(str::to_owned)
    }

    /// Entries that wait for the writer.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared().lock().entries.len()
    }

    /// New entries in their JSON form as they reach the disk, for live tails. The first may have been
    /// appended just before: to show older ones too, subscribe, then ask for them, and skip what comes
    /// twice (`seq`). A receiver that lags more
    /// than 1,024 entries behind loses the oldest and is told how many.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Value>> {
        let live = self.shared().live.subscribe();
        // The indexer publishes, and collects for a shorter time while somebody follows.
        self.shared().index.followed();
        live
    }

    /// The directory of the log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared().dir
    }
}

/// Evidence that a call's audit has begun: nothing runs without one. Dropped without
/// [`Begun::finish`], it writes an entry that says «interrupted».
#[derive(Debug)]
#[must_use = "a call whose audit has begun must finish it"]
pub struct Begun {
    log: AuditLog,
    /// Gone once the result is written.
    prepared: Option<Prepared>,
    waits: bool,
    intent: Option<Waiting>,
}

impl Begun {
    /// Resolves when the intent is on disk; at once for reads.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn durable(&mut self) -> Result<(), AuditError> {
        if let Some(waiting) = &mut self.intent {
            let on_disk = waiting.await;
            self.intent = None;
            answer(on_disk)?;
        }
        Ok(())
    }

    /// Writes the call's result entry. Resolves when on disk for effects, at once for reads.
    ///
    /// # Errors
    /// The log has stopped.
    pub async fn finish(mut self, outcome: Finished) -> Result<Position, AuditError> {
        let ending = Ending {
            kind: Kind::Call,
            status: outcome.status,
            output_summary: outcome.output_summary,
            duration_us: Some(outcome.duration_us),
            resource_usage: outcome.resource_usage,
        };
        let (position, waiting) = self.end(ending, outcome.metadata)?;
        wait(waiting).await?;
        Ok(position)
    }

    fn end(
        &mut self,
        ending: Ending,
        metadata: Object,
    ) -> Result<(Position, Option<Waiting>), AuditError> {
        let Some(mut prepared) = self.prepared.take() else {
            return Err(AuditError::Stopped(
                "the call's result was written already".to_owned(),
            ));
        };
        let shared = self.log.shared();
        prepared.metadata.extend(metadata);
        let body = prepared.body(ending, shared.options.include_content);
        let mut queue = shared.lock();
        queue.reserved = queue.reserved.saturating_sub(1);
        if let Some(cause) = &queue.stopped {
            return Err(AuditError::Stopped(cause.to_string()));
        }
        Ok(shared.push(queue, body, self.waits))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.prepared.is_none() {
            return;
        }
        let mut metadata = Object::new();
        metadata.insert("interrupted".to_owned(), Value::Bool(true));
        let ending = Ending {
            kind: Kind::Call,
            status: Status::Error,
            output_summary: None,
            duration_us: None,
            resource_usage: None,
        };
        if let Err(error) = self.end(ending, metadata) {
            tracing::error!(%error, "an interrupted call has no result entry");
        }
    }
}

/// An entry decoded from its payload; an entry on disk that does not decode is an error of the log.
pub(crate) fn decoded(payload: &[u8]) -> Result<Entry, AuditError> {
    crate::codec::EntryRef::decode(payload)
        .and_then(crate::codec::EntryRef::to_entry)
        .map_err(|error| AuditError::Io {
            context: "an entry does not decode".to_owned(),
            source: std::io::Error::other(error),
        })
}
