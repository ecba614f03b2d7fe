use crate::{SetOutcome, Store, StoreError, db};
use jiff::Timestamp;
use kruxos_types::AgentName;
use rusqlite::{Connection, Row};
use serde_json::Value;

/// Bytes of a key (spec/state.md).
const MAX_KEY_BYTES: usize = 512;
/// Bytes of a value as JSON (spec/state.md: 10 MB).
const MAX_VALUE_BYTES: usize = 10 * 1024 * 1024;
/// Levels of arrays and objects: what the JSON parser reads back (its own limit is 128).
const MAX_DEPTH: usize = 120;
/// Keys of one agent, deleted ones with a history included. The quota counts values only, so that
/// without it an agent could fill the disk with keys.
pub const MAX_KEYS_PER_AGENT: u64 = 100_000;

impl Store {
    /// Sets a key: a new version, durable on return; versions beyond the limit go. `Quota` leaves
    /// everything as it was.
    ///
    /// Where the agent would be beyond its quota or [`MAX_KEYS_PER_AGENT`], the histories of keys that
    /// it has deleted go first, the longest deleted first: otherwise deleting would free nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_set(
        &self,
        agent: &AgentName,
        key: &str,
        value: Value,
    ) -> Result<SetOutcome, StoreError> {
        check_key(key)?;
        if !within_depth(&value, MAX_DEPTH) {
            let why = format!("a value has at most {MAX_DEPTH} levels of arrays and objects");
            return Err(StoreError::Invalid(why));
        }
        let text = db::to_json(&value)?;
        drop(value);
        if text.len() > MAX_VALUE_BYTES {
            let why = format!("a value has at most {MAX_VALUE_BYTES} bytes as JSON");
            return Err(StoreError::Invalid(why));
        }
        let set = Set {
            agent: agent.clone(),
            key: key.as_bytes().to_vec(),
            text,
            limit_bytes: self.0.persistent_quota_bytes,
            versions_kept: i64::from(self.0.versions_kept),
        };
        let clock = self.0.clock.clone();
        self.write(move |conn| set.run(conn, db::now(&*clock)))
            .await
    }

    /// Deletes a key, keeping its history. False if there was none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_delete(&self, agent: &AgentName, key: &str) -> Result<bool, StoreError> {
        let (agent, key) = (agent.clone(), key.as_bytes().to_vec());
        let (clock, kept) = (self.0.clock.clone(), i64::from(self.0.versions_kept));
        self.write(move |conn| {
            let found = KeyRow::find(conn, agent.as_str(), &key)?.filter(|row| row.live);
            let Some(row) = found else {
                return Ok(false);
            };
            let now = db::now(&*clock);
            let version = row.version + 1;
            row.add_version(conn, version, None, now, row.created_at)?;
            let freed = row.prune(conn, version - kept)?;
            let sql = "UPDATE state_keys SET version = ?2, live = 0, size = 0, \
                       all_bytes = all_bytes - ?3, updated_at = ?4 WHERE id = ?1";
            db::run(conn, sql, (row.id, version, freed, now.as_microsecond()))?;
            let mut usage = Usage::find(conn, agent.as_str())?;
            usage.all_bytes -= freed;
            usage.keys_live -= 1;
            usage.store(conn, agent.as_str())?;
            Ok(true)
        })
        .await
    }
}

/// Removes everything an agent has stored.
pub(crate) fn forget_agent(conn: &Connection, agent: &str) -> Result<(), StoreError> {
    db::run(conn, "DELETE FROM state_keys WHERE agent = ?1", [agent])?;
    db::run(conn, "DELETE FROM state_usage WHERE agent = ?1", [agent])?;
    Ok(())
}

fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let why = format!("a key has 1 to {MAX_KEY_BYTES} bytes, not {}", key.len());
        return Err(StoreError::Invalid(why));
    }
    Ok(())
}

fn within_depth(value: &Value, left: usize) -> bool {
    match value {
        Value::Array(items) => left > 0 && items.iter().all(|item| within_depth(item, left - 1)),
        Value::Object(fields) => {
            left > 0 && fields.values().all(|field| within_depth(field, left - 1))
        }
        _ => true,
    }
}

/// What a set needs on the writer's side.
struct Set {
    agent: AgentName,
    key: Vec<u8>,
    text: String,
    limit_bytes: u64,
    versions_kept: i64,
}

impl Set {
    fn run(&self, conn: &Connection, now: Timestamp) -> Result<SetOutcome, StoreError> {
        let agent = self.agent.as_str();
        let size = db::limit(self.text.len());
        let mut usage = Usage::find(conn, agent)?;
        let used_before = usage.all_bytes;
        let previous = KeyRow::find(conn, agent, &self.key)?;
        let previous_version = previous
            .as_ref()
            .filter(|row| row.live)
            .map(|row| row.version);
        let row = match previous {
            Some(row) => row,
            None => {
                usage.keys_kept += 1;
                KeyRow::insert(conn, agent, &self.key, now)?
            }
        };
        let created_at = if row.live { row.created_at } else { now };
        let version = row.version + 1;
        row.add_version(conn, version, Some(&self.text), now, created_at)?;
        let freed = row.prune(conn, version - self.versions_kept)?;
        let sql = "UPDATE state_keys SET version = ?2, live = 1, size = ?3, \
                   all_bytes = all_bytes + ?3 - ?4, created_at = ?5, updated_at = ?6 WHERE id = ?1";
        let times = (created_at.as_microsecond(), now.as_microsecond());
        db::run(conn, sql, (row.id, version, size, freed, times.0, times.1))?;
        usage.all_bytes += size - freed;
        usage.keys_live += i64::from(!row.live);
        self.make_room(conn, &mut usage, used_before)?;
        usage.store(conn, agent)?;
        let positive = |number: i64| u64::try_from(number).map_err(|_| db::wrong_type("version"));
        Ok(SetOutcome {
            version: positive(version)?,
            previous_version: previous_version.map(positive).transpose()?,
        })
    }

    /// Gives up histories of deleted keys until the agent is within its limits, or refuses.
    fn make_room(
        &self,
        conn: &Connection,
        usage: &mut Usage,
        used_before: i64,
    ) -> Result<(), StoreError> {
        let agent = self.agent.as_str();
        let limit_bytes = i64::try_from(self.limit_bytes).unwrap_or(i64::MAX);
        let limit_keys = db::integer(MAX_KEYS_PER_AGENT)?;
        while usage.all_bytes > limit_bytes || usage.keys_kept > limit_keys {
            let sql = "DELETE FROM state_keys WHERE id = (SELECT id FROM state_keys \
                       WHERE agent = ?1 AND live = 0 ORDER BY updated_at, id LIMIT 1) \
                       RETURNING all_bytes";
            let freed = db::one(conn, sql, [agent], |row| Ok(row.get::<_, i64>(0)?))?;
            match freed {
                Some(freed) => {
                    usage.all_bytes -= freed;
                    usage.keys_kept -= 1;
                }
                None if usage.all_bytes > limit_bytes => {
                    let used = u64::try_from(used_before).unwrap_or_default();
                    return Err(StoreError::Quota {
                        used,
                        limit: self.limit_bytes,
                    });
                }
                None => {
                    let resource = "keys of persistent state";
                    return Err(StoreError::Limit {
                        resource,
                        limit: MAX_KEYS_PER_AGENT,
                    });
                }
            }
        }
        Ok(())
    }
}

/// A key's row.
struct KeyRow {
    id: i64,
    version: i64,
    live: bool,
    created_at: Timestamp,
}

impl KeyRow {
    fn find(conn: &Connection, agent: &str, key: &[u8]) -> Result<Option<Self>, StoreError> {
        let sql = "SELECT id, version, live, created_at FROM state_keys \
                   WHERE agent = ?1 AND key = ?2";
        let decode = |row: &Row<'_>| {
            Ok(Self {
                id: row.get("id")?,
                version: row.get("version")?,
                live: row.get("live")?,
                created_at: db::time(row, "created_at")?,
            })
        };
        db::one(conn, sql, (agent, key), decode)
    }

    /// A key that has no version yet.
    fn insert(
        conn: &Connection,
        agent: &str,
        key: &[u8],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let sql = "INSERT INTO state_keys \
                   (agent, key, version, live, size, all_bytes, created_at, updated_at) \
                   VALUES (?1, ?2, 0, 0, 0, 0, ?3, ?3)";
        db::run(conn, sql, (agent, key, now.as_microsecond()))?;
        Ok(Self {
            id: conn.last_insert_rowid(),
            version: 0,
            live: false,
            created_at: now,
        })
    }

    fn add_version(
        &self,
        conn: &Connection,
        version: i64,
        text: Option<&str>,
        now: Timestamp,
        key_created_at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO state_versions \
                   (key_id, version, deleted, size, created_at, key_created_at, value) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let size = db::limit(text.map_or(0, str::len));
        let times = (now.as_microsecond(), key_created_at.as_microsecond());
        let params = (
            self.id,
            version,
            text.is_none(),
            size,
            times.0,
            times.1,
            text,
        );
        db::run(conn, sql, params)?;
        Ok(())
    }

    /// Removes versions up to `last`; answers their bytes.
    fn prune(&self, conn: &Connection, last: i64) -> Result<i64, StoreError> {
        let sql = "DELETE FROM state_versions WHERE key_id = ?1 AND version <= ?2 RETURNING size";
        let sizes = db::all(conn, sql, (self.id, last), |row| Ok(row.get::<_, i64>(0)?))?;
        Ok(sizes.iter().sum())
    }
}

/// An agent's running totals.
struct Usage {
    all_bytes: i64,
    keys_kept: i64,
    keys_live: i64,
}

impl Usage {
    fn find(conn: &Connection, agent: &str) -> Result<Self, StoreError> {
        let sql = "SELECT all_bytes, keys_kept, keys_live FROM state_usage WHERE agent = ?1";
        let decode = |row: &Row<'_>| {
            Ok(Self {
                all_bytes: row.get("all_bytes")?,
                keys_kept: row.get("keys_kept")?,
                keys_live: row.get("keys_live")?,
            })
        };
        let found = db::one(conn, sql, [agent], decode)?;
        Ok(found.unwrap_or(Self {
            all_bytes: 0,
            keys_kept: 0,
            keys_live: 0,
        }))
    }

    fn store(&self, conn: &Connection, agent: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO state_usage (agent, all_bytes, keys_kept, keys_live) \
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT (agent) DO UPDATE \
                   SET all_bytes = excluded.all_bytes, keys_kept = excluded.keys_kept, \
                   keys_live = excluded.keys_live";
        db::run(
            conn,
            sql,
            (agent, self.all_bytes, self.keys_kept, self.keys_live),
        )?;
        Ok(())
    }
}
