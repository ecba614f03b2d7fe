//! Two read-only connections. A look-up by key costs a few microseconds, less than a hop to another
//! thread, so it runs where it is asked for; whatever may walk many rows runs on a blocking thread and
//! on a connection of its own, so that look-ups do not queue behind it.

use crate::{StoreError, db};
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Readers {
    points: Mutex<Connection>,
    scans: Mutex<Connection>,
}

impl Readers {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = || Ok::<_, StoreError>(Mutex::new(db::open_reader(path)?));
        Ok(Self {
            points: connection()?,
            scans: connection()?,
        })
    }

    /// For look-ups by key.
    pub(crate) fn point<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        let conn = self.points.try_lock().or_else(|_| self.scans.try_lock());
        match conn {
            Ok(conn) => read(&conn),
            Err(_) => read(&lock(&self.points)),
        }
    }

    /// For walks over many rows. Blocks.
    pub(crate) fn scan<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        read(&lock(&self.scans))
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A connection stays usable whatever its last reader did: statements reset when they are dropped.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
