//! The index of the log: an SQLite file beside it, filled by a thread of its own from the segments, and
//! never in a call's way. It holds nothing that the segments do not: whatever is wrong with it, it is
//! thrown away and built again.

mod build;
mod query;
mod stats;

pub use query::{Page, Query};
pub use stats::{CapabilityStats, ChainState, Stats};

use crate::entry::Entry;
use crate::log::{AuditError, AuditLog, Shared};
use kruxos_types::Timestamp;
use rusqlite::Connection;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The index's file in the directory of the log.
pub(crate) const FILE: &str = "index.db";
/// New entries are collected this long before they are indexed together, unless a query wants them:
/// pages of the index are written once for all of them.
const COLLECT: Duration = Duration::from_millis(500);
/// The same while somebody follows the log live: the indexer shows what is new.
const COLLECT_LIVE: Duration = Duration::from_millis(25);
/// How long a query waits for entries that are not indexed yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the indexer, the writer and queries tell each other.
#[derive(Debug, Default)]
pub(crate) struct Index {
    state: Mutex<State>,
    /// Work for the indexer.
    work: Condvar,
    /// News for those who wait for it.
    progress: Condvar,
    reader: Mutex<Option<Connection>>,
}

#[derive(Debug, Default)]
struct State {
    new_entries: bool,
    /// The indexer sleeps and a commit has to wake it.
    idle: bool,
    /// Queries wait until everything before this is indexed.
    wanted: u64,
    /// Everything before this is indexed.
    indexed: u64,
    /// Rebuilds asked for and done.
    rebuilds_wanted: u64,
    rebuilds_done: u64,
    closing: bool,
    /// The indexer has ended.
    closed: bool,
    failure: Option<Arc<str>>,
}

impl Index {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.work.notify_all();
    }

    /// The writer's part: entries reached the disk. Wakes the indexer only from its long sleep, or for
    /// a query that waits for them.
    pub(crate) fn new_entries(&self) {
        let mut state = self.lock();
        state.new_entries = true;
        let wake = state.idle || state.wanted > state.indexed;
        state.idle = false;
        drop(state);
        if wake {
            self.work.notify_all();
        }
    }

    /// Somebody follows the log live from now on.
    pub(crate) fn followed(&self) {
        self.tell(|_| ());
    }

    /// No more work will come.
    pub(crate) fn close(&self) {
        self.tell(|state| state.closing = true);
    }

    fn wait_until(
        &self,
        done: impl Fn(&State) -> bool,
        patience: Option<Duration>,
    ) -> Result<(), AuditError> {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            if done(&state) {
                return Ok(());
            }
            if let Some(cause) = &state.failure {
                return Err(AuditError::Stopped(cause.to_string()));
            }
            if state.closed {
                return Err(AuditError::Stopped("its indexer has ended".to_owned()));
            }
            let left = patience.map_or(Duration::from_secs(60), |patience| {
                patience.saturating_sub(start.elapsed())
            });
            if left.is_zero() {
                return Err(AuditError::Indexing {
                    indexed: state.indexed,
                    entries: state.wanted,
                });
            }
            state = self
                .progress
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Shared {
    /// Waits until every entry appended before now is indexed.
    fn catch_up(&self) -> Result<(), AuditError> {
        let target = match self.ask_flush() {
            // The answer comes through the index.
            Ok(_) => self.appended(),
            Err(_) => self.durable.load(Ordering::Acquire),
        };
        self.index
            .tell(|state| state.wanted = state.wanted.max(target));
        let stopped = || self.lock().stopped.is_some();
        self.index
            .wait_until(|state| state.indexed >= target || stopped(), Some(PATIENCE))
    }

    /// Runs a read on the index, opening it first where needed.
    fn read_index<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, AuditError>,
    ) -> Result<T, AuditError> {
        let mut reader = self
            .index
            .reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if reader.is_none() {
            *reader = Some(build::open_reader(&self.dir)?);
        }
        let result = match reader.as_ref() {
            Some(connection) => read(connection),
            None => Err(AuditError::Stopped("the index is not open".to_owned())),
        };
        if result.is_err() {
            *reader = None;
        }
        result
    }
}

/// Starts the indexer.
pub(crate) fn start(shared: &Arc<Shared>) -> std::io::Result<std::thread::JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name("audit-index".to_owned())
        .spawn(move || run(&shared))
}

fn run(shared: &Shared) {
    let mut builder: Option<build::Builder> = None;
    loop {
        let (rebuild, closing) = wait_for_work(shared);
        let result = index_new(shared, &mut builder, rebuild.is_some());
        let mut state = shared.index.lock();
        match result {
            Ok(indexed) => {
                state.indexed = indexed;
                state.rebuilds_done = rebuild.unwrap_or(state.rebuilds_done);
                state.failure = None;
            }
            Err(error) => {
                tracing::error!(%error, "the audit index cannot be built; the log itself goes on");
                state.failure = Some(error.to_string().into());
                builder = None;
            }
        }
        state.closed = closing;
        drop(state);
        shared.index.progress.notify_all();
        if closing {
            if let Some(builder) = builder {
                builder.close();
            }
            return;
        }
    }
}

fn index_new(
    shared: &Shared,
    slot: &mut Option<build::Builder>,
    rebuild: bool,
) -> Result<u64, AuditError> {
    if rebuild {
        *slot = None;
        build::remove(&shared.dir)?;
    }
    let mut builder = match slot.take() {
        Some(builder) => builder,
        None => build::Builder::open(shared)?,
    };
    let indexed = match builder.catch_up(shared) {
        Err(AuditError::Index(error)) if build::is_corrupt(&error) => {
            tracing::warn!(%error, "the audit index is damaged and built again");
            drop(builder);
            build::remove(&shared.dir)?;
            builder = build::Builder::open(shared)?;
            builder.catch_up(shared)?
        }
        other => other?,
    };
    *slot = Some(builder);
    Ok(indexed)
}

/// Sleeps until there is something to index; gives a rebuild that is wanted, and whether the log closes.
fn wait_for_work(shared: &Shared) -> (Option<u64>, bool) {
    let index = &shared.index;
    let mut state = index.lock();
    let mut collecting: Option<Instant> = None;
    loop {
        let rebuild =
            (state.rebuilds_wanted > state.rebuilds_done).then_some(state.rebuilds_wanted);
        let queried = state.wanted > state.indexed && state.new_entries;
        if state.closing || rebuild.is_some() || queried {
            state.new_entries = false;
            return (rebuild, state.closing);
        }
        if state.new_entries {
            let now = Instant::now();
            let since = *collecting.get_or_insert(now);
            let collect = if shared.live.receiver_count() > 0 {
                COLLECT_LIVE
            } else {
                COLLECT
            };
            let left = (since + collect).saturating_duration_since(now);
            if left.is_zero() {
                state.new_entries = false;
                return (None, false);
            }
            state = index
                .work
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        } else {
            state.idle = true;
            state = index
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle = false;
        }
    }
}

/// Reads of the log. They use files and a database and block: call them from a blocking thread.
impl AuditLog {
    /// The entries that match, as far as the page goes. Everything appended before the call is found.
    ///
    /// # Errors
    /// The index or a segment cannot be read, or the index is being built and not there yet.
    pub fn query(&self, query: &Query) -> Result<Page, AuditError> {
        self.shared().catch_up()?;
        let shared = self.shared();
        shared.read_index(|connection| query::run(connection, &shared.dir, query))
    }

    /// The newest `count` entries, oldest first.
    ///
    /// # Errors
    /// As [`AuditLog::query`].
    pub fn tail(&self, count: usize) -> Result<Vec<Entry>, AuditError> {
        let mut page = self.query(&Query {
            limit: count,
            ..Query::default()
        })?;
        page.entries.reverse();
        Ok(page.entries)
    }

    /// The entry with this id or sequence number.
    ///
    /// # Errors
    /// As [`AuditLog::query`].
    pub fn show(&self, id_or_seq: &str) -> Result<Option<Entry>, AuditError> {
        self.shared().catch_up()?;
        let shared = self.shared();
        shared.read_index(|connection| query::show(connection, &shared.dir, id_or_seq))
    }

    /// Counts and latencies since `from`, and the state of the whole chain.
    ///
    /// # Errors
    /// As [`AuditLog::query`].
    pub fn stats(&self, from: Option<Timestamp>) -> Result<Stats, AuditError> {
        self.shared().catch_up()?;
        let chain = crate::verify(self.dir())?;
        let shared = self.shared();
        shared.read_index(|connection| stats::run(connection, from, &chain))
    }

    /// Throws the index away and builds it again; gives the number of entries in it.
    ///
    /// # Errors
    /// The index cannot be written.
    pub fn reindex(&self) -> Result<u64, AuditError> {
        let shared = self.shared();
        let mut wanted = 0;
        shared.index.tell(|state| {
            state.rebuilds_wanted += 1;
            wanted = state.rebuilds_wanted;
        });
        shared
            .index
            .wait_until(|state| state.rebuilds_done >= wanted, None)?;
        *shared
            .index
            .reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        shared.read_index(query::count)
    }
}
