//! Alerts: what the operator should know, folded where it repeats.

use crate::{Store, StoreError, db};
use jiff::Timestamp;
use kruxos_types::{Object, random_base32};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

/// Alerts kept; beyond it the oldest go, acknowledged ones first.
const KEPT: i64 = 10_000;

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Severity {
    Info,
    Warning,
    Critical,
}

/// Whether someone has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum AlertStatus {
    Open,
    Acknowledged,
}

/// An alert; identical open ones fold into one with a count and a time range.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Alert {
    pub id: String,
    pub severity: Severity,
    pub message: String,
    /// `agent:<name>` or the monitor's name.
    pub source: String,
    pub context: Object,
    pub status: AlertStatus,
    pub count: u64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub acknowledged_by: Option<String>,
    pub acknowledged_at: Option<Timestamp>,
}

/// What raising one takes.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct NewAlert {
    pub severity: Severity,
    pub message: String,
    pub source: String,
    pub context: Object,
}

const COLUMNS: &str = "id, severity, message, source, context, status, count, first_at, last_at, \
    acknowledged_by, acknowledged_at";

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl AlertStatus {
    fn as_str(self) -> &'static str {
        match self {
            AlertStatus::Open => "open",
            AlertStatus::Acknowledged => "acknowledged",
        }
    }
}

impl Store {
    /// Raises an alert, or counts it up where an open one has the same source, severity and message;
    /// the context is then the newest.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn raise_alert(&self, new: NewAlert) -> Result<Alert, StoreError> {
        let context = db::to_json(&new.context)?;
        let clock = self.0.clock.clone();
        self.write(move |conn| {
            let sql = format!(
                "INSERT INTO alerts (id, severity, message, source, context, status, count, \
                 first_at, last_at) VALUES (?1, ?2, ?3, ?4, ?5, 'open', 1, ?6, ?6) \
                 ON CONFLICT (source, severity, message) WHERE status = 'open' DO UPDATE \
                 SET count = count + 1, last_at = max(last_at, excluded.last_at), \
                 context = excluded.context RETURNING {COLUMNS}"
            );
            let id = format!("al_{}", random_base32(10));
            let now = db::now(&*clock).as_microsecond();
            let severity = new.severity.as_str();
            let params = (id, severity, new.message, new.source, context, now);
            let raised = db::one(conn, &sql, params, alert)?;
            let raised =
                raised.ok_or_else(|| StoreError::Corrupt("an alert vanished".to_owned()))?;
            if raised.count == 1 {
                make_room(conn)?;
            }
            Ok(raised)
        })
        .await
    }

    /// Newest first, by when they were last raised, at most `limit`; and how many there are in all.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn alerts(
        &self,
        status: Option<AlertStatus>,
        source: Option<&str>,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<(Vec<Alert>, u64), StoreError> {
        const WHERE: &str = "WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR source = ?2) \
            AND (?3 IS NULL OR last_at >= ?3)";
        let (status, source) = (status.map(AlertStatus::as_str), source.map(str::to_owned));
        let since = since.map(Timestamp::as_microsecond);
        self.scan(move |conn| {
            let snapshot = conn.unchecked_transaction()?;
            let sql = format!(
                "SELECT {COLUMNS} FROM alerts {WHERE} ORDER BY last_at DESC, seq DESC LIMIT ?4"
            );
            let found = db::all(
                &snapshot,
                &sql,
                (status, &source, since, db::limit(limit)),
                alert,
            )?;
            let sql = format!("SELECT count(*) AS total FROM alerts {WHERE}");
            let count = |row: &Row<'_>| db::unsigned(row, "total");
            let total = db::one(&snapshot, &sql, (status, &source, since), count)?;
            Ok((found, total.unwrap_or_default()))
        })
        .await
    }

    /// Acknowledges; doing it twice keeps the first. `NotFound` for an unknown id, or with `source` given,
    /// for one of another source.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acknowledge_alert(
        &self,
        id: &str,
        by: &str,
        source: Option<&str>,
    ) -> Result<Alert, StoreError> {
        let (id, by, source) = (id.to_owned(), by.to_owned(), source.map(str::to_owned));
        let clock = self.0.clock.clone();
        self.write(move |conn| {
            let sql = "UPDATE alerts SET status = 'acknowledged', acknowledged_by = ?3, \
                       acknowledged_at = ?4 \
                       WHERE id = ?1 AND (?2 IS NULL OR source = ?2) AND status = 'open'";
            db::run(
                conn,
                sql,
                (&id, &source, by, db::now(&*clock).as_microsecond()),
            )?;
            let sql = format!(
                "SELECT {COLUMNS} FROM alerts WHERE id = ?1 AND (?2 IS NULL OR source = ?2)"
            );
            db::one(conn, &sql, (&id, &source), alert)?.ok_or(StoreError::NotFound(id))
        })
        .await
    }
}

fn make_room(conn: &Connection) -> Result<(), StoreError> {
    let sql = "DELETE FROM alerts WHERE seq IN (SELECT seq FROM alerts \
               ORDER BY status = 'open', last_at, seq \
               LIMIT max(0, (SELECT count(*) FROM alerts) - ?1))";
    db::run(conn, sql, [KEPT])?;
    Ok(())
}

fn alert(row: &Row<'_>) -> Result<Alert, StoreError> {
    Ok(Alert {
        id: row.get("id")?,
        severity: word(row, "severity")?,
        message: row.get("message")?,
        source: row.get("source")?,
        context: db::json(row, "context")?,
        status: word(row, "status")?,
        count: db::unsigned(row, "count")?,
        first_at: db::time(row, "first_at")?,
        last_at: db::time(row, "last_at")?,
        acknowledged_by: row.get("acknowledged_by")?,
        acknowledged_at: db::optional_time(row, "acknowledged_at")?,
    })
}

/// A column that holds the name of an enum's variant.
fn word<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, StoreError> {
    use serde::de::IntoDeserializer;
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(|_| db::wrong_type(column))?;
    let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        text.into_deserializer();
    T::deserialize(text).map_err(|error| StoreError::Corrupt(format!("{column}: {error}")))
}
