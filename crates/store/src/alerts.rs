use crate::{Store, StoreError};
use jiff::Timestamp;
use kruxos_types::Object;
use serde::{Deserialize, Serialize};

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

impl Store {
    /// Raises an alert, or counts it up where an open one has the same source, severity and message.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn raise_alert(&self, _new: NewAlert) -> Result<Alert, StoreError> {
        todo!()
    }

    /// Newest first.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn alerts(
        &self,
        _status: Option<AlertStatus>,
        _source: Option<&str>,
        _since: Option<Timestamp>,
        _limit: usize,
    ) -> Result<(Vec<Alert>, u64), StoreError> {
        todo!()
    }

    /// Acknowledges; doing it twice keeps the first. `NotFound` for an unknown id, or with `source` given,
    /// for one of another source.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acknowledge_alert(&self, _id: &str, _by: &str, _source: Option<&str>) -> Result<Alert, StoreError> {
        todo!()
    }
}
