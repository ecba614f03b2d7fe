//! The one thread that writes. It takes what has queued up while the last commit was syncing, runs it
//! as one transaction with a savepoint for each job, and answers after COMMIT: many callers share one
//! sync, and one caller's refusal undoes only its own work.

use crate::{StoreError, db};
use rusqlite::{Connection, ffi};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Jobs that wait for the writer; a caller beyond them waits to be queued.
const QUEUE: usize = 256;
/// Jobs in one transaction, so that none waits for an endless group.
const GROUP: usize = 256;

/// Tells the newest audit sequence number that is on disk.
pub type AuditMark = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// Where the writer finds the source of the audit mark, once there is one.
pub(crate) type MarkSource = Arc<Mutex<Option<AuditMark>>>;

/// Gets its turn in a transaction, or the reason why there is none.
type Job = Box<dyn FnOnce(Result<&Connection, Lost>) -> Option<Ran> + Send>;
/// Answers the caller once it is known whether the transaction is durable.
type Settle = Box<dyn FnOnce(Result<(), Lost>) + Send>;

/// A job that had its turn.
struct Ran {
    /// Its changes stay; a refused job's are undone.
    keep: bool,
    settle: Settle,
}

/// A failed transaction, told to everybody in it.
#[derive(Debug, Clone)]
struct Lost {
    code: Option<ffi::Error>,
    message: String,
}

impl Lost {
    fn of(error: &rusqlite::Error) -> Self {
        Self {
            code: error.sqlite_error().copied(),
            message: error.to_string(),
        }
    }

    fn group() -> Self {
        let code = Some(ffi::Error::new(ffi::SQLITE_IOERR));
        Self {
            code,
            message: "a write in the same group broke the transaction".to_owned(),
        }
    }
}

impl From<Lost> for StoreError {
    fn from(lost: Lost) -> Self {
        match lost.code {
            Some(code) => {
                StoreError::Sqlite(rusqlite::Error::SqliteFailure(code, Some(lost.message)))
            }
            None => StoreError::Stopped(lost.message),
        }
    }
}

/// Handle to the thread. Dropping it finishes what is queued and closes the database.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(conn: Connection, mark: MarkSource) -> Result<Self, StoreError> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work(&conn, jobs, &mark))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Runs `work` in a transaction; durable once this answers `Ok`. What `work` changed is undone if
    /// it fails. A caller that goes away does not take its queued work with it.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopped = || StoreError::Stopped("its writer has ended".to_owned());
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |turn| job(turn, work, answer));
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.send(job).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn job<T: Send + 'static>(
    turn: Result<&Connection, Lost>,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    answer: oneshot::Sender<Result<T, StoreError>>,
) -> Option<Ran> {
    let conn = match turn {
        Ok(conn) => conn,
        Err(lost) => {
            // Who asked may have gone; that is theirs to decide. The same below.
            drop(answer.send(Err(lost.into())));
            return None;
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| work(conn)))
        .unwrap_or_else(|_| Err(StoreError::Stopped("a write panicked".to_owned())));
    let keep = result.is_ok();
    let settle = move |committed: Result<(), Lost>| {
        let result = match committed {
            Err(lost) if keep => Err(lost.into()),
            _ => result,
        };
        drop(answer.send(result));
    };
    Some(Ran {
        keep,
        settle: Box::new(settle),
    })
}

fn work(conn: &Connection, mut jobs: mpsc::Receiver<Job>, mark: &MarkSource) {
    let mut marked = None;
    while let Some(first) = jobs.blocking_recv() {
        let mut group = Vec::with_capacity(1);
        group.push(first);
        while group.len() < GROUP
            && let Ok(job) = jobs.try_recv()
        {
            group.push(job);
        }
        let mut group = group.into_iter();
        while group.len() > 0 {
            transaction(conn, &mut group, mark, &mut marked);
        }
    }
}

/// Runs jobs as one transaction: all of them, or as many as SQLite lets.
fn transaction(
    conn: &Connection,
    jobs: &mut std::vec::IntoIter<Job>,
    mark: &MarkSource,
    marked: &mut Option<u64>,
) {
    if let Err(error) = execute(conn, "BEGIN IMMEDIATE") {
        let lost = Lost::of(&error);
        for job in jobs {
            job(Err(lost.clone()));
        }
        return;
    }
    let mut kept = Vec::with_capacity(jobs.len());
    for job in jobs.by_ref() {
        let ran = in_savepoint(conn, job);
        // A full disk, an I/O error or lack of memory makes SQLite roll everything back by itself.
        let broken = conn.is_autocommit();
        match ran {
            Some(Ran { keep: true, settle }) => kept.push(settle),
            Some(Ran {
                keep: false,
                settle,
            }) => settle(Ok(())),
            None => {}
        }
        if broken {
            *marked = None;
            return settle_all(kept, &Err(Lost::group()));
        }
    }
    let committed = if kept.is_empty() {
        execute(conn, "ROLLBACK")
    } else {
        store_mark(conn, mark, marked).and_then(|()| execute(conn, "COMMIT"))
    };
    if let Err(error) = &committed {
        *marked = None;
        tracing::error!(%error, "a commit of the state database failed");
        if !conn.is_autocommit()
            && let Err(error) = execute(conn, "ROLLBACK")
        {
            tracing::error!(%error, "the failed transaction could not be rolled back");
        }
    }
    settle_all(kept, &committed.map_err(|error| Lost::of(&error)));
}

/// `None` if the job was answered already, because it could not have its turn.
fn in_savepoint(conn: &Connection, job: Job) -> Option<Ran> {
    if let Err(error) = execute(conn, "SAVEPOINT job") {
        return job(Err(Lost::of(&error)));
    }
    let mut ran = job(Ok(conn))?;
    if conn.is_autocommit() {
        return Some(ran);
    }
    let ended = if ran.keep {
        execute(conn, "RELEASE job")
    } else {
        execute(conn, "ROLLBACK TO job").and_then(|()| execute(conn, "RELEASE job"))
    };
    if let Err(error) = ended {
        // The savepoint is still open: nothing of the group can be trusted.
        tracing::error!(%error, "a savepoint could not be ended");
        if let Err(error) = execute(conn, "ROLLBACK") {
            tracing::error!(%error, "the transaction could not be rolled back");
        }
        if ran.keep {
            let lost = Lost::of(&error);
            (ran.settle)(Err(lost));
            ran = Ran {
                keep: false,
                settle: Box::new(|_| {}),
            };
        }
    }
    Some(ran)
}

fn settle_all(kept: Vec<Settle>, committed: &Result<(), Lost>) {
    for settle in kept {
        settle(committed.clone());
    }
}

/// Puts the audit log's durable position into the same commit, so that a log that is cut short shows.
fn store_mark(
    conn: &Connection,
    source: &MarkSource,
    marked: &mut Option<u64>,
) -> Result<(), rusqlite::Error> {
    let source = source
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let Some(seq) = source.and_then(|source| source()) else {
        return Ok(());
    };
    if *marked == Some(seq) {
        return Ok(());
    }
    let stored = i64::try_from(seq).unwrap_or(i64::MAX);
    let sql = "INSERT INTO audit_mark (id, seq) VALUES (1, ?1) \
               ON CONFLICT (id) DO UPDATE SET seq = excluded.seq";
    conn.prepare_cached(sql)?.execute([stored])?;
    *marked = Some(seq);
    Ok(())
}

fn execute(conn: &Connection, sql: &str) -> Result<(), rusqlite::Error> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

/// Reads the mark of the last commit that had one.
pub(crate) fn stored_mark(conn: &Connection) -> Result<Option<u64>, StoreError> {
    db::one(conn, "SELECT seq FROM audit_mark WHERE id = 1", [], |row| {
        db::unsigned(row, "seq")
    })
}
