//! The error catalogue: the table of the specification, and what definitions make of it.

use kruxos_catalog::Catalog;
use kruxos_types::{CallError, ErrorType};
use std::collections::BTreeSet;

/// error_type, retryable, retry after, recovery actions, context, exception.
type Row = (
    &'static str,
    bool,
    Option<u64>,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const TABLE: &[Row] = &[
    (
        "auth.invalid_credentials",
        false,
        None,
        &["check_credentials"],
        &[],
        "AuthenticationError",
    ),
    (
        "auth.agent_revoked",
        false,
        None,
        &["contact_admin", "create_new_agent"],
        &["name"],
        "AuthenticationError",
    ),
    (
        "auth.user_token_revoked",
        false,
        None,
        &["contact_admin", "create_new_agent"],
        &["name"],
        "AuthenticationError",
    ),
    (
        "auth.rate_limited",
        true,
        Some(60),
        &["wait_and_retry"],
        &["limit", "window_seconds"],
        "RateLimitedError",
    ),
    (
        "session.limit",
        true,
        None,
        &["close_other_session"],
        &["agent"],
        "SessionLimitError",
    ),
    (
        "NotAuthenticated",
        false,
        None,
        &["reconnect"],
        &["reason"],
        "AuthenticationError",
    ),
    (
        "SessionExpired",
        false,
        None,
        &["reconnect"],
        &["session_id"],
        "SessionExpiredError",
    ),
    (
        "SessionPaused",
        true,
        None,
        &["wait_and_retry", "contact_supervisor"],
        &["agent"],
        "SessionPausedError",
    ),
    (
        "PolicyDenied",
        false,
        None,
        &["check_policy", "request_escalation"],
        &["rule", "capability", "layer"],
        "PolicyDeniedError",
    ),
    (
        "ApprovalPending",
        false,
        None,
        &["wait_for_approval", "check_status"],
        &["request_id", "capability", "expires_at"],
        "ApprovalRequiredError",
    ),
    (
        "ApprovalRejected",
        false,
        None,
        &["modify_and_retry", "contact_supervisor"],
        &["request_id", "reason", "decided_by"],
        "ApprovalRejectedError",
    ),
    (
        "ApprovalExpired",
        false,
        None,
        &["resubmit"],
        &["request_id"],
        "ApprovalExpiredError",
    ),
    (
        "InvalidInput",
        false,
        None,
        &["fix_input"],
        &["field", "reason", "expected"],
        "InvalidInputError",
    ),
    (
        "CapabilityNotFound",
        false,
        None,
        &["list_capabilities"],
        &["capability", "suggestions"],
        "CapabilityNotFoundError",
    ),
    (
        "PathOutOfScope",
        false,
        None,
        &["check_scope", "use_workspace_path"],
        &["path"],
        "PathOutOfScopeError",
    ),
    (
        "FileNotFound",
        false,
        None,
        &["list_directory", "check_path"],
        &["path"],
        "FileNotFoundError",
    ),
    (
        "PermissionDenied",
        false,
        None,
        &["check_permissions", "request_access"],
        &["path", "operation"],
        "PermissionDeniedError",
    ),
    (
        "QuotaExceeded",
        false,
        None,
        &["delete_unused", "request_increase"],
        &["scope", "used_bytes", "limit_bytes"],
        "QuotaExceededError",
    ),
    (
        "ResourceExhausted",
        false,
        None,
        &["check_usage", "cleanup"],
        &["resource", "limit", "current"],
        "ResourceExhaustedError",
    ),
    (
        "RateLimited",
        true,
        None,
        &["wait_and_retry"],
        &["limit", "window_seconds", "retry_after_seconds"],
        "RateLimitedError",
    ),
    (
        "Timeout",
        true,
        None,
        &["retry", "increase_timeout"],
        &["operation", "timeout_seconds"],
        "TimeoutError",
    ),
    (
        "ConflictError",
        true,
        None,
        &["re_read"],
        &["resource", "expected_version", "actual_version"],
        "ConflictError",
    ),
    (
        "VersionConflict",
        true,
        None,
        &["re_read"],
        &["resource", "expected_version", "actual_version"],
        "ConflictError",
    ),
    (
        "ServiceUnavailable",
        true,
        Some(60),
        &["retry_later", "check_service_status"],
        &["service", "reason"],
        "ServiceUnavailableError",
    ),
    (
        "VaultLocked",
        true,
        None,
        &["alert_supervisor"],
        &[],
        "ServiceUnavailableError",
    ),
    (
        "proxy.service_error",
        true,
        Some(60),
        &["retry_later"],
        &["service", "message"],
        "ServiceUnavailableError",
    ),
    (
        "proxy.batch_protection",
        false,
        None,
        &["request_approval"],
        &["operation", "count", "threshold", "window_seconds"],
        "BatchProtectionError",
    ),
    (
        "Internal",
        true,
        None,
        &["retry", "report"],
        &["trace_id"],
        "CapabilityError",
    ),
];

#[test]
fn the_table_of_the_specification_holds() {
    for (code, retryable, retry_after, actions, context, exception) in TABLE {
        let spec = ErrorType::from_code(code).expect(code).spec();
        let given: Vec<&str> = spec.recovery.iter().map(|action| action.action).collect();
        assert_eq!(given, *actions, "{code}");
        assert_eq!(spec.context, *context, "{code}");
        assert_eq!(
            (spec.retryable, spec.retry_after),
            (*retryable, *retry_after),
            "{code}"
        );
        assert_eq!(spec.exception, *exception, "{code}");
    }
}

#[test]
fn only_declared_and_common_errors_may_leave_a_capability() {
    let read = Catalog::builtin().get("filesystem.read").unwrap();
    assert!(read.declares(ErrorType::EncodingError), "declared");
    assert!(read.declares(ErrorType::PolicyDenied), "common");
    assert!(!read.declares(ErrorType::MergeConflict));
    let own = read.recovery_for(ErrorType::FileNotFound).unwrap();
    assert_eq!(
        own.iter().map(|action| &*action.action).collect::<Vec<_>>(),
        ["search", "list"]
    );
    assert!(read.recovery_for(ErrorType::Internal).is_none());
}

#[test]
fn every_uncommon_error_is_declared_by_some_capability() {
    let declared: BTreeSet<ErrorType> = Catalog::builtin()
        .all()
        .iter()
        .flat_map(|d| d.errors.iter().map(|e| e.error))
        .collect();
    for error in ErrorType::ALL {
        assert!(
            error.spec().common || declared.contains(error),
            "{}",
            error.code()
        );
        assert_eq!(ErrorType::from_code(error.code()), Some(*error));
    }
}

#[test]
fn texts_are_whole_once_the_context_is_filled_in() {
    for error in ErrorType::ALL {
        let filled = error
            .spec()
            .context
            .iter()
            .fold(CallError::new(*error), |e, key| e.with(key, "VALUE"));
        for text in [filled.description(), filled.agent_description()] {
            assert!(
                !text.contains('{') && !text.contains("  "),
                "{}: {text}",
                error.code()
            );
            assert!(text.ends_with('.'), "{}: {text}", error.code());
        }
        let json = filled.to_json();
        assert!(!json["recovery_actions"].as_array().unwrap().is_empty());
    }
}
