//! How the database is opened, and the few shapes in which rows become values.

use crate::StoreError;
use jiff::Timestamp;
use kruxos_types::Clock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// How long a connection waits for a lock that another process (a backup, a reader) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer in KiB. Small: the whole idle gateway has 30 MB.
const WRITER_CACHE_KIB: i64 = 2000;
/// Page cache of each reader in KiB.
const READER_CACHE_KIB: i64 = 1000;
/// Prepared statements kept for each connection; above the number of statements this crate has for one.
const STATEMENTS: usize = 48;
/// The write-ahead log is cut back to this after a checkpoint, so that one large write does not keep
/// its disk space for ever.
const WAL_KEPT_BYTES: i64 = 16 * 1024 * 1024;

/// The one connection that writes. Makes the file, readable by its owner only.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let fresh = !path.try_exists()?;
    drop(
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)?,
    );
    if fresh {
        sync_parent(path)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    configure(&conn, WRITER_CACHE_KIB)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let why = format!("its file system does not carry a write-ahead log (mode {mode})");
        return Err(StoreError::Stopped(why));
    }
    // FULL syncs the log at every commit. With NORMAL a power cut takes acknowledged writes away.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
    Ok(conn)
}

/// A connection that cannot write.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    configure(&conn, READER_CACHE_KIB)?;
    Ok(conn)
}

fn configure(conn: &Connection, cache_kib: i64) -> Result<(), StoreError> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without it, SQLite plans a statement anew at every call in which a bound value could matter to a
    // partial index: a look-up took 16 µs instead of 4.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Negative means KiB instead of pages.
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    // Temporary files would put state outside the data directory.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // A damaged or hostile file is refused rather than believed.
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    Ok(())
}

/// Makes a new name in a directory survive a power cut.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// The first row of a statement.
pub(crate) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(decode).transpose()
}

/// Every row of a statement.
pub(crate) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    mut decode: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(row)?);
    }
    Ok(found)
}

/// A statement without rows; answers how many it changed.
pub(crate) fn run(conn: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    Ok(conn.prepare_cached(sql)?.execute(params)?)
}

/// The time as it is stored: whole microseconds.
pub(crate) fn now(clock: &dyn Clock) -> Timestamp {
    stored_precision(clock.now())
}

/// Cut to what a row keeps, so that a value reads back as it was answered.
pub(crate) fn stored_precision(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

pub(crate) fn time(row: &Row<'_>, column: &str) -> Result<Timestamp, StoreError> {
    micros(row.get(column)?)
}

pub(crate) fn optional_time(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>, StoreError> {
    row.get::<_, Option<i64>>(column)?.map(micros).transpose()
}

fn micros(value: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(value).map_err(|_| StoreError::Corrupt(format!("the time {value}")))
}

/// A count, size or version, none of which is negative.
pub(crate) fn unsigned(row: &Row<'_>, column: &str) -> Result<u64, StoreError> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| StoreError::Corrupt(format!("{column} is {value}")))
}

/// A number as SQLite keeps it.
pub(crate) fn integer(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Invalid(format!("{value} is too large a number")))
}

/// A limit as SQLite takes it: beyond its range there is none.
pub(crate) fn limit(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Invalid(error.to_string()))
}

pub(crate) fn from_json<T: DeserializeOwned>(text: &[u8], what: &str) -> Result<T, StoreError> {
    serde_json::from_slice(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, StoreError> {
    let text = row
        .get_ref(column)?
        .as_bytes()
        .map_err(|_| wrong_type(column))?;
    from_json(text, column)
}

pub(crate) fn wrong_type(column: &str) -> StoreError {
    StoreError::Corrupt(format!("{column} has the wrong type"))
}
