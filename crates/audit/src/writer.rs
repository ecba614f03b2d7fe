//! The one thread that writes: takes what is queued, appends it in one write, syncs once, answers all.

use crate::AuditError;
use crate::codec::{self, Hash};
use crate::frame;
use crate::log::{Pending, Queue, Rest, Shared, Waiter};
use crate::segment::{Active, Keeper, SegmentName, day_of};
use kruxos_types::Timestamp;
use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an entry that nobody waits for may rest before its flush starts. With the sync itself it is
/// on disk within the 10 ms that spec/audit.md promises.
const REST: Duration = Duration::from_millis(5);
/// Frames are handed to the file in writes of about this size.
const WRITE_BYTES: usize = 1 << 20;
const SECONDS_PER_DAY: i64 = 86_400;

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    keeper: Keeper,
    /// `None` until the first entry of a new chain needs a segment.
    active: Option<Active>,
    /// The segment that the next one follows by name.
    last_name: Option<SegmentName>,
    /// The UTC day of the active segment, in days since 1970: saves comparing names for each entry.
    day: i64,
    last_hash: Hash,
    random: RandomPool,
    buffer: Vec<u8>,
    /// Held as long as the writer lives.
    _lock: File,
}

/// Where a new log continues.
#[derive(Debug)]
pub(crate) enum Start {
    /// In this segment.
    Resume(Active),
    /// In a new segment after the one named, if any.
    New(Option<SegmentName>),
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        keeper: Keeper,
        start: Start,
        last_hash: Hash,
        lock: File,
    ) -> Self {
        let (active, last_name) = match start {
            Start::Resume(active) => (Some(active), None),
            Start::New(last) => (None, last),
        };
        Self {
            shared,
            keeper,
            active,
            last_name,
            day: i64::MIN,
            last_hash,
            random: RandomPool::default(),
            buffer: Vec::with_capacity(64 * 1024),
            _lock: lock,
        }
    }

    /// Writes until the log closes or fails.
    pub(crate) fn run(mut self) {
        self.write_until_closed();
        self.shared.index.close();
    }

    fn write_until_closed(&mut self) {
        loop {
            let shared = Arc::clone(&self.shared);
            let mut queue = wait_for_work(&shared);
            if queue.entries.is_empty() && queue.flushes.is_empty() && queue.closing {
                return;
            }
            queue.urgent = false;
            drop(queue);
            if let Err(error) = self.commit_queued() {
                // The cause is kept for every later call; waiters have been told already.
                tracing::error!(%error, "the audit log has stopped");
                return;
            }
        }
    }

    /// Writes and syncs what is queued, and tells who waits.
    ///
    /// # Errors
    /// The disk's. The log takes no entry any more.
    pub(crate) fn commit_queued(&mut self) -> Result<(), AuditError> {
        let (entries, flushes) = {
            let mut queue = self.shared.lock();
            queue.bytes = 0;
            (
                std::mem::take(&mut queue.entries),
                std::mem::take(&mut queue.flushes),
            )
        };
        let next_seq = entries.last().map(|entry| entry.seq + 1);
        let result = self.write(&entries).and_then(|()| self.sync());
        if let Err(error) = result {
            self.stop(&error, entries, flushes);
            return Err(error);
        }
        if let Some(next_seq) = next_seq {
            self.shared.durable.store(next_seq, Ordering::Release);
        }
        let waiters = entries
            .into_iter()
            .filter_map(|entry| entry.waiter)
            .chain(flushes);
        for waiter in waiters {
            tell(waiter, Ok(()));
        }
        self.shared.index.new_entries();
        Ok(())
    }

    fn stop(&mut self, error: &AuditError, entries: Vec<Pending>, flushes: Vec<Waiter>) {
        let cause: Arc<str> = match error {
            AuditError::Io { context, source } => format!("{context}: {source}").into(),
            other => other.to_string().into(),
        };
        let (late, late_flushes) = {
            let mut queue = self.shared.lock();
            queue.stopped = Some(Arc::clone(&cause));
            (
                std::mem::take(&mut queue.entries),
                std::mem::take(&mut queue.flushes),
            )
        };
        let waiting = entries
            .into_iter()
            .chain(late)
            .filter_map(|entry| entry.waiter);
        for waiter in waiting.chain(flushes).chain(late_flushes) {
            tell(waiter, Err(Arc::clone(&cause)));
        }
    }

    fn write(&mut self, entries: &[Pending]) -> Result<(), AuditError> {
        for entry in entries {
            self.room_for(entry)?;
            let id = self.random.id(entry.at)?;
            let (previous, mut hash) = (self.last_hash, self.last_hash);
            frame::append(&mut self.buffer, |out| {
                hash = codec::seal(out, &id, entry.seq, entry.at, &entry.body, &previous);
            });
            self.last_hash = hash;
            if self.buffer.len() >= WRITE_BYTES {
                self.put()?;
            }
        }
        self.put()
    }

    /// Makes sure that the entry fits into the active segment and belongs to its day.
    fn room_for(&mut self, entry: &Pending) -> Result<(), AuditError> {
        // Everything in a frame but the body: header, fixed fields, hashes.
        const AROUND: usize = 256;
        let day = entry.at.as_second().div_euclid(SECONDS_PER_DAY);
        if let Some(active) = &self.active {
            let end = active.offset + (self.buffer.len() + entry.body.len() + AROUND) as u64;
            let later = day > self.day && active.name.is_before(&day_of(entry.at));
            if end <= active.size && !later {
                self.day = self.day.max(day);
                return Ok(());
            }
        }
        self.rotate(entry.at)?;
        self.day = day;
        Ok(())
    }

    fn rotate(&mut self, at: Timestamp) -> Result<(), AuditError> {
        self.put()?;
        if let Some(done) = self.active.take() {
            done.seal().map_err(io_error("cannot seal a segment"))?;
            self.last_name = Some(done.name);
        }
        let name = SegmentName::following(self.last_name.as_ref(), at);
        let size = self.shared.options.segment_bytes;
        self.active = Some(Active::create(&self.shared.dir, name, size)?);
        self.keeper.prepare_spare(&self.shared.dir, size);
        Ok(())
    }

    /// Hands the buffered frames to the file.
    fn put(&mut self) -> Result<(), AuditError> {
        if let (Some(active), false) = (&mut self.active, self.buffer.is_empty()) {
            active
                .write(&self.buffer, &self.keeper)
                .map_err(io_error("cannot write"))?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AuditError> {
        match &self.active {
            // Never tried again after a failure: the kernel may have dropped the pages (fsyncgate).
            Some(active) => active.file.sync_data().map_err(io_error("cannot sync")),
            None => Ok(()),
        }
    }
}

fn io_error(context: &str) -> impl FnOnce(io::Error) -> AuditError + '_ {
    move |source| AuditError::Io {
        context: context.to_owned(),
        source,
    }
}

fn tell(waiter: Waiter, result: Result<(), Arc<str>>) {
    // A caller that went away does not want to know; its entry is written all the same.
    if waiter.send(result).is_err() {
        tracing::trace!("nobody waits for an audit entry any more");
    }
}

/// Sleeps until something is urgent or due.
fn wait_for_work(shared: &Shared) -> MutexGuard<'_, Queue> {
    let mut queue = shared.lock();
    let mut due: Option<Instant> = None;
    loop {
        if queue.urgent || queue.closing || !queue.flushes.is_empty() {
            break;
        }
        if queue.entries.is_empty() {
            due = None;
            queue.rest = Rest::Idle;
            queue = shared
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let now = Instant::now();
        let left = due.get_or_insert(now + REST).saturating_duration_since(now);
        if left.is_zero() {
            break;
        }
        queue.rest = Rest::Due;
        queue = shared
            .wake
            .wait_timeout(queue, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    queue.rest = Rest::Busy;
    queue
}

/// Random bits for ids, fetched from the operating system for many at once.
#[derive(Debug)]
struct RandomPool {
    bytes: [u8; Self::SIZE],
    used: usize,
}

impl Default for RandomPool {
    fn default() -> Self {
        Self {
            bytes: [0; Self::SIZE],
            used: Self::SIZE,
        }
    }
}

impl RandomPool {
    const EACH: usize = 10;
    const SIZE: usize = 256 * Self::EACH;

    /// A UUIDv7 (RFC 9562) of that instant.
    fn id(&mut self, at: Timestamp) -> Result<[u8; 16], AuditError> {
        if self.used + Self::EACH > Self::SIZE {
            getrandom::fill(&mut self.bytes).map_err(|error| AuditError::Io {
                context: "no random numbers".to_owned(),
                source: io::Error::other(error.to_string()),
            })?;
            self.used = 0;
        }
        let random = self
            .bytes
            .get(self.used..)
            .and_then(|rest| rest.first_chunk::<{ Self::EACH }>());
        self.used += Self::EACH;
        // The clock may stand before 1970 in a test; an id then starts with zero.
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let builder =
            uuid::Builder::from_unix_timestamp_millis(millis, random.unwrap_or(&[0; Self::EACH]));
        Ok(builder.into_uuid().into_bytes())
    }
}
