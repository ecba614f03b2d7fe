//! Why the database refused, and what the caller of a capability hears of it.

use kruxos_types::{CallError, ErrorType};
use rusqlite::ErrorCode;

/// Why the database refused. Domain refusals (quota, version, missing key) are in the results'
/// own error types.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the state database cannot be used: {0}")]
    Io(#[from] std::io::Error),
    #[error(
        "the data directory was written by a newer kruxos (schema {found}, this one knows {known})"
    )]
    NewerSchema { found: u32, known: u32 },
    #[error("stored data is damaged: {0}")]
    Corrupt(String),
    #[error("the database has stopped: {0}")]
    Stopped(String),
    #[error("'{0}' exists already")]
    Exists(String),
    #[error("'{0}' does not exist")]
    NotFound(String),
    #[error("quota: {used} of {limit} bytes used")]
    Quota { used: u64, limit: u64 },
    #[error("at most {limit} {resource}")]
    Limit { resource: &'static str, limit: u64 },
    #[error("{0}")]
    Invalid(String),
}

impl StoreError {
    /// SQLite's class of the failure, where it was SQLite's.
    pub(crate) fn sqlite_code(&self) -> Option<ErrorCode> {
        match self {
            StoreError::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Quota { used, limit } => CallError::new(ErrorType::QuotaExceeded)
                .with("scope", "persistent state")
                .with("used_bytes", *used)
                .with("limit_bytes", *limit),
            StoreError::Limit { resource, limit } => CallError::new(ErrorType::ResourceExhausted)
                .with("resource", *resource)
                .with("limit", *limit)
                .with("current", *limit),
            StoreError::NotFound(name) => {
                let reason = format!("'{name}' does not exist");
                CallError::invalid_input("name", &reason, "the name of something that exists")
            }
            StoreError::Exists(name) => CallError::new(ErrorType::ConflictError)
                .with("resource", name.as_str())
                .with("expected_version", "absent")
                .with("actual_version", "present")
                .detail(format!("'{name}' exists already.")),
            StoreError::Invalid(reason) => {
                CallError::invalid_input("value", reason, "a value within the documented limits")
            }
            StoreError::Sqlite(_) => from_sqlite(&error),
            StoreError::Stopped(_) => unavailable().internal(&error),
            StoreError::Io(_) | StoreError::NewerSchema { .. } | StoreError::Corrupt(_) => {
                CallError::internal_failure(&error)
            }
        }
    }
}

fn from_sqlite(error: &StoreError) -> CallError {
    match error.sqlite_code() {
        Some(ErrorCode::DiskFull) => CallError::new(ErrorType::ResourceExhausted)
            .with("resource", "disk space for the state database")
            .with("limit", "the free space of its disk")
            .with("current", "full")
            .internal(error),
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::OutOfMemory,
        ) => unavailable().internal(error),
        _ => CallError::internal_failure(error),
    }
}

fn unavailable() -> CallError {
    CallError::new(ErrorType::ServiceUnavailable).with("service", "state")
}
