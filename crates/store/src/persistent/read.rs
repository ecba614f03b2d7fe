use crate::{KeyEntry, StateQuota, StateValue, Store, StoreError, VersionEntry, db};
use kruxos_types::AgentName;
use rusqlite::{Connection, Row};
use serde_json::Value;

/// Keys that [`StateQuota::largest`] names.
const LARGEST: usize = 10;

impl Store {
    /// The current value, or that of a version. A version of a deleted key is there as long as its
    /// history is.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_get(
        &self,
        agent: &AgentName,
        key: &str,
        version: Option<u64>,
    ) -> Result<Option<StateValue>, StoreError> {
        const CURRENT: &str = "SELECT v.value, v.version, v.key_created_at, v.created_at \
            FROM state_keys k JOIN state_versions v ON v.key_id = k.id AND v.version = k.version \
            WHERE k.agent = ?1 AND k.key = ?2 AND v.deleted = 0";
        const OLDER: &str = "SELECT v.value, v.version, v.key_created_at, v.created_at \
            FROM state_keys k JOIN state_versions v ON v.key_id = k.id \
            WHERE k.agent = ?1 AND k.key = ?2 AND v.version = ?3 AND v.deleted = 0";
        let (agent, key) = (agent.as_str(), key.as_bytes());
        let found = match version.map(i64::try_from) {
            None => self.point(|conn| db::one(conn, CURRENT, (agent, key), raw_value))?,
            Some(Ok(version)) => {
                self.point(|conn| db::one(conn, OLDER, (agent, key, version), raw_value))?
            }
            // No key has ever had so many.
            Some(Err(_)) => None,
        };
        // Parsed here, after the connection was given back.
        found.map(RawValue::parse).transpose()
    }

    /// Keys with a prefix, by name in byte order; values too if asked. At most `limit`; the totals
    /// count all. Answers `(entries, count, total_size_bytes)`, sizes being those of current values.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_list(
        &self,
        agent: &AgentName,
        prefix: &str,
        values: bool,
        limit: usize,
    ) -> Result<(Vec<KeyEntry>, u64, u64), StoreError> {
        let (agent, prefix) = (agent.clone(), prefix.as_bytes().to_vec());
        self.scan(move |conn| {
            // One snapshot, so that the totals fit the entries.
            let snapshot = conn.unchecked_transaction()?;
            list(&snapshot, agent.as_str(), &prefix, values, limit)
        })
        .await
    }

    /// A key's versions, newest first; `None` if it never existed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_history(
        &self,
        agent: &AgentName,
        key: &str,
        limit: usize,
    ) -> Result<Option<Vec<VersionEntry>>, StoreError> {
        let (agent, key) = (agent.clone(), key.as_bytes().to_vec());
        self.scan(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let sql = "SELECT id FROM state_keys WHERE agent = ?1 AND key = ?2";
            let id = db::one(&snapshot, sql, (agent.as_str(), key), |row| {
                Ok(row.get::<_, i64>(0)?)
            })?;
            let Some(id) = id else {
                return Ok(None);
            };
            let sql = "SELECT version, deleted, size, created_at, value FROM state_versions \
                       WHERE key_id = ?1 ORDER BY version DESC LIMIT ?2";
            db::all(&snapshot, sql, (id, db::limit(limit)), version_entry).map(Some)
        })
        .await
    }

    /// Quota and the largest keys, deleted ones with a history included.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn state_quota(&self, agent: &AgentName) -> Result<StateQuota, StoreError> {
        let agent = agent.clone();
        let limit_bytes = self.0.persistent_quota_bytes;
        self.scan(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let sql = "SELECT all_bytes, keys_live FROM state_usage WHERE agent = ?1";
            let usage = db::one(&snapshot, sql, [agent.as_str()], |row| {
                Ok((
                    db::unsigned(row, "all_bytes")?,
                    db::unsigned(row, "keys_live")?,
                ))
            })?;
            let (used_bytes, keys) = usage.unwrap_or_default();
            let sql = "SELECT key, all_bytes FROM state_keys WHERE agent = ?1 \
                       ORDER BY all_bytes DESC, key LIMIT ?2";
            let largest = db::all(
                &snapshot,
                sql,
                (agent.as_str(), db::limit(LARGEST)),
                |row| Ok((key(row)?, db::unsigned(row, "all_bytes")?)),
            )?;
            Ok(StateQuota {
                used_bytes,
                limit_bytes,
                keys,
                largest,
            })
        })
        .await
    }
}

/// A value as it lies in its row.
struct RawValue {
    text: String,
    version: u64,
    created_at: jiff::Timestamp,
    updated_at: jiff::Timestamp,
}

fn raw_value(row: &Row<'_>) -> Result<RawValue, StoreError> {
    Ok(RawValue {
        text: row.get("value")?,
        version: db::unsigned(row, "version")?,
        created_at: db::time(row, "key_created_at")?,
        updated_at: db::time(row, "created_at")?,
    })
}

impl RawValue {
    fn parse(self) -> Result<StateValue, StoreError> {
        Ok(StateValue {
            value: db::from_json(self.text.as_bytes(), "a stored value")?,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

fn list(
    conn: &Connection,
    agent: &str,
    prefix: &[u8],
    values: bool,
    limit: usize,
) -> Result<(Vec<KeyEntry>, u64, u64), StoreError> {
    const TOTALS: &str = "SELECT count(*) AS keys, coalesce(sum(size), 0) AS bytes FROM state_keys \
        WHERE agent = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) AND live = 1";
    const KEYS: &str = "SELECT key, version, size, updated_at FROM state_keys \
        WHERE agent = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) AND live = 1 \
        ORDER BY key LIMIT ?4";
    const VALUES: &str = "SELECT k.key, k.version, k.size, k.updated_at, v.value FROM state_keys k \
        JOIN state_versions v ON v.key_id = k.id AND v.version = k.version \
        WHERE k.agent = ?1 AND k.key >= ?2 AND (?3 IS NULL OR k.key < ?3) AND k.live = 1 \
        ORDER BY k.key LIMIT ?4";
    let end = after_prefix(prefix);
    let total = |row: &Row<'_>| Ok((db::unsigned(row, "keys")?, db::unsigned(row, "bytes")?));
    let totals = db::one(conn, TOTALS, (agent, prefix, &end), total)?;
    let (count, bytes) = totals.unwrap_or_default();
    let entries = if values {
        let with_value = |row: &Row<'_>| key_entry(row, Some(db::json(row, "value")?));
        db::all(
            conn,
            VALUES,
            (agent, prefix, &end, db::limit(limit)),
            with_value,
        )?
    } else {
        let without = |row: &Row<'_>| key_entry(row, None);
        db::all(conn, KEYS, (agent, prefix, &end, db::limit(limit)), without)?
    };
    Ok((entries, count, bytes))
}

/// The first byte string after all that start with `prefix`; `None` where nothing comes after.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

fn key_entry(row: &Row<'_>, value: Option<Value>) -> Result<KeyEntry, StoreError> {
    Ok(KeyEntry {
        key: key(row)?,
        version: db::unsigned(row, "version")?,
        size_bytes: db::unsigned(row, "size")?,
        updated_at: db::time(row, "updated_at")?,
        value,
    })
}

fn version_entry(row: &Row<'_>) -> Result<VersionEntry, StoreError> {
    let deleted = row.get("deleted")?;
    Ok(VersionEntry {
        version: db::unsigned(row, "version")?,
        value: if deleted {
            None
        } else {
            Some(db::json(row, "value")?)
        },
        deleted,
        size_bytes: db::unsigned(row, "size")?,
        created_at: db::time(row, "created_at")?,
    })
}

fn key(row: &Row<'_>) -> Result<String, StoreError> {
    String::from_utf8(row.get("key")?).map_err(|_| db::wrong_type("key"))
}
