//! The schema and its versions (`PRAGMA user_version`), always forward.

use crate::{StoreError, db};
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// In order; the first makes version 1. One that was released is never changed.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_init.sql"),
    include_str!("../migrations/0002_decisions.sql"),
    include_str!("../migrations/0003_boxes.sql"),
    include_str!("../migrations/0004_owners.sql"),
    include_str!("../migrations/0005_mounts.sql"),
    include_str!("../migrations/0006_grants.sql"),
];

/// Brings the database to the newest version, all of it or nothing. One with data in it is copied
/// beside itself first.
pub(crate) fn migrate(
    conn: &Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    if found == 0 && has_tables(conn)? {
        let why = format!("{} is a database of something else", path.display());
        return Err(StoreError::Corrupt(why));
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        back_up(conn, path, found)?;
    }
    let transaction = conn.unchecked_transaction()?;
    for migration in migrations.iter().skip(found as usize) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    Ok(transaction.commit()?)
}

fn has_tables(conn: &Connection) -> Result<bool, StoreError> {
    Ok(
        conn.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
            row.get(0)
        })?,
    )
}

/// Where the copy of a database of version `from` goes.
pub(crate) fn backup_path(path: &Path, from: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".v{from}.bak"));
    PathBuf::from(name)
}

/// A whole copy under its final name or none: written aside, synced, then renamed.
fn back_up(conn: &Connection, path: &Path, from: u32) -> Result<(), StoreError> {
    let target = backup_path(path, from);
    let aside = target.with_extension("bak.tmp");
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    drop(
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&aside)?,
    );
    conn.backup("main", &aside, None::<fn(rusqlite::backup::Progress)>)?;
    File::open(&aside)?.sync_all()?;
    std::fs::rename(&aside, &target)?;
    db::sync_parent(&target)?;
    tracing::info!(from, copy = %target.display(), "copied the state database before migrating it");
    Ok(())
}
