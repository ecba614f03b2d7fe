//! Directories of the host that agents see.

use crate::{Store, StoreError, db};
use jiff::Timestamp;
use kruxos_types::AgentName;
use rusqlite::{Connection, Row};
use serde::Serialize;

/// Mounts of one agent. Each costs every program of the agent the start of a mount.
pub const MAX_MOUNTS: u64 = 16;

/// A directory of the host that an agent sees at `/mnt/<label>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Mount {
    pub agent: AgentName,
    pub label: String,
    /// Absolute, without links when it was added.
    pub source: String,
    pub writable: bool,
    pub created_at: Timestamp,
}

/// What may be changed of one.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct MountPatch {
    pub label: Option<String>,
    pub writable: Option<bool>,
}

const COLUMNS: &str = "agent, label, source, writable, created_at";

impl Store {
    /// An agent's mounts, by label.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn mounts_of(&self, agent: &AgentName) -> Result<Vec<Mount>, StoreError> {
        self.point(|conn| {
            let sql = format!("SELECT {COLUMNS} FROM mounts WHERE agent = ?1 ORDER BY label");
            db::all(conn, &sql, [agent.as_str()], mount)
        })
    }

    /// Adds one. `Exists` if the label is taken, `Limit` at [`MAX_MOUNTS`], `NotFound` without the agent.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn add_mount(
        &self,
        agent: &AgentName,
        label: &str,
        source: &str,
        writable: bool,
    ) -> Result<Mount, StoreError> {
        let (agent, clock) = (agent.clone(), self.0.clock.clone());
        let (label, source) = (label.to_owned(), source.to_owned());
        self.write(move |conn| {
            let name = agent.as_str();
            let known = "SELECT 1 AS known FROM agents WHERE name = ?1";
            if db::one(conn, known, [name], |row| Ok(row.get::<_, i64>("known")?))?.is_none() {
                return Err(StoreError::NotFound(name.to_owned()));
            }
            let sql = "SELECT count(*) AS number FROM mounts WHERE agent = ?1";
            let number = db::one(conn, sql, [name], |row| db::unsigned(row, "number"))?;
            if number.unwrap_or(0) >= MAX_MOUNTS {
                return Err(StoreError::Limit {
                    resource: "mounts of one agent",
                    limit: MAX_MOUNTS,
                });
            }
            let sql = format!(
                "INSERT INTO mounts ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (agent, label) DO NOTHING RETURNING {COLUMNS}"
            );
            let now = db::now(&*clock).as_microsecond();
            let params = (name, &label, &source, writable, now);
            db::one(conn, &sql, params, mount)?.ok_or(StoreError::Exists(label))
        })
        .await
    }

    /// Renames one or makes it read-only or writable. `Exists` if the new label is taken.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn edit_mount(
        &self,
        agent: &AgentName,
        label: &str,
        patch: MountPatch,
    ) -> Result<Mount, StoreError> {
        let (agent, label) = (agent.clone(), label.to_owned());
        self.write(move |conn| {
            if let Some(new) = patch.label.as_deref().filter(|new| *new != label)
                && find(conn, agent.as_str(), new)?.is_some()
            {
                return Err(StoreError::Exists(new.to_owned()));
            }
            let sql = format!(
                "UPDATE mounts SET label = coalesce(?3, label), writable = coalesce(?4, writable) \
                 WHERE agent = ?1 AND label = ?2 RETURNING {COLUMNS}"
            );
            let params = (agent.as_str(), &label, patch.label, patch.writable);
            db::one(conn, &sql, params, mount)?.ok_or(StoreError::NotFound(label))
        })
        .await
    }

    /// Removes one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn remove_mount(&self, agent: &AgentName, label: &str) -> Result<Mount, StoreError> {
        let (agent, label) = (agent.clone(), label.to_owned());
        self.write(move |conn| {
            let sql =
                format!("DELETE FROM mounts WHERE agent = ?1 AND label = ?2 RETURNING {COLUMNS}");
            let params = (agent.as_str(), &label);
            db::one(conn, &sql, params, mount)?.ok_or(StoreError::NotFound(label))
        })
        .await
    }
}

fn find(conn: &Connection, agent: &str, label: &str) -> Result<Option<Mount>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM mounts WHERE agent = ?1 AND label = ?2");
    db::one(conn, &sql, (agent, label), mount)
}

fn mount(row: &Row<'_>) -> Result<Mount, StoreError> {
    let name: String = row.get("agent")?;
    let agent = AgentName::new(&name)
        .map_err(|_| StoreError::Corrupt(format!("a mount of the agent '{name}'")))?;
    Ok(Mount {
        agent,
        label: row.get("label")?,
        source: row.get("source")?,
        writable: row.get("writable")?,
        created_at: db::time(row, "created_at")?,
    })
}
