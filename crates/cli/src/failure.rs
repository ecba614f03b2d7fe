//! How a command fails: a message, what to do next, and an exit code of spec/cli.md.

use serde_json::Value;
use std::process::ExitCode;

/// Why a command ends without having done what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    VaultLocked = 3,
    NotFound = 4,
    Unreachable = 5,
    Refused = 6,
    /// A signal ended it: 128 + SIGTERM, as shells say it.
    Terminated = 143,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hints: Vec<String>,
    /// The gateway's structured error, where it sent one.
    pub(crate) error: Option<Value>,
    /// Everything was said already: exit without a message.
    pub(crate) silent: bool,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hints: Vec::new(),
            error: None,
            silent: false,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// The command has shown what failed; only the exit code is left to say.
    pub(crate) fn shown(exit: Exit) -> Self {
        Self {
            silent: true,
            ..Self::new(exit, String::new())
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// The gateway's answer as a failure.
    pub(crate) fn from_answer(status: u16, body: Value) -> Self {
        let kind = body["error_type"].as_str().unwrap_or_default();
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        let message =
            text("description").unwrap_or_else(|| format!("the gateway answered {status}"));
        let mut failure = Self::new(exit_of(status, kind), message);
        for action in body["recovery_actions"].as_array().into_iter().flatten() {
            if let Some(description) = action["description"].as_str() {
                failure.hints.push(description.to_owned());
            }
        }
        if let Some(seconds) = body["retry_after"].as_u64() {
            failure.hints.push(format!("Try again in {seconds} s."));
        }
        failure.error = Some(body);
        failure
    }
}

fn exit_of(status: u16, kind: &str) -> Exit {
    match (status, kind) {
        (_, "VaultLocked") => Exit::VaultLocked,
        (404, _) | (_, "CapabilityNotFound" | "FileNotFound" | "KeyNotFound" | "AlertNotFound") => {
            Exit::NotFound
        }
        (_, "PolicyDenied" | "ApprovalRejected" | "ApprovalExpired" | "ApprovalPending")
        | (_, "SessionPaused" | "PermissionDenied" | "PathOutOfScope" | "RateLimited")
        | (401 | 403 | 409 | 412 | 428, _) => Exit::Refused,
        (_, "InvalidInput") => Exit::Usage,
        _ => Exit::Failed,
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn each_sort_of_refusal_has_its_documented_exit_code() {
        for (status, kind, code) in [
            (423, "VaultLocked", 3),
            (404, "InvalidInput", 4),
            (400, "FileNotFound", 4),
            (409, "ConflictError", 6),
            (409, "ApprovalExpired", 6),
            (403, "PolicyDenied", 6),
            (400, "InvalidInput", 2),
            (500, "Internal", 1),
            (503, "ServiceUnavailable", 1),
        ] {
            let failure = Failure::from_answer(status, json!({"error_type": kind}));
            assert_eq!(failure.exit as u8, code, "{status} {kind}");
        }
        assert_eq!(Failure::unreachable("x").exit as u8, 5);
    }

    #[test]
    fn what_to_do_next_comes_from_the_recovery_actions() {
        let body = json!({
            "error_type": "RateLimited", "description": "Too many.", "retry_after": 7,
            "recovery_actions": [{"action": "wait_and_retry", "description": "Wait."}],
        });
        let failure = Failure::from_answer(429, body);
        assert_eq!(failure.message, "Too many.");
        assert_eq!(failure.hints, ["Wait.", "Try again in 7 s."]);
    }
}
