// Generated from errors.yaml by `cargo xtask gen`. Do not edit.

/// The errors of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorType {
    /// `auth.invalid_credentials`
    AuthInvalidCredentials,
    /// `auth.agent_revoked`
    AuthAgentRevoked,
    /// `auth.user_token_revoked`
    AuthUserTokenRevoked,
    /// `auth.rate_limited`
    AuthRateLimited,
    /// `session.limit`
    SessionLimit,
    /// `NotAuthenticated`
    NotAuthenticated,
    /// `SessionExpired`
    SessionExpired,
    /// `SessionPaused`
    SessionPaused,
    /// `PolicyDenied`
    PolicyDenied,
    /// `ApprovalPending`
    ApprovalPending,
    /// `ApprovalRejected`
    ApprovalRejected,
    /// `ApprovalExpired`
    ApprovalExpired,
    /// `InvalidInput`
    InvalidInput,
    /// `CapabilityNotFound`
    CapabilityNotFound,
    /// `PathOutOfScope`
    PathOutOfScope,
    /// `FileNotFound`
    FileNotFound,
    /// `PermissionDenied`
    PermissionDenied,
    /// `QuotaExceeded`
    QuotaExceeded,
    /// `ResourceExhausted`
    ResourceExhausted,
    /// `RateLimited`
    RateLimited,
    /// `Timeout`
    Timeout,
    /// `ConflictError`
    ConflictError,
    /// `VersionConflict`
    VersionConflict,
    /// `ServiceUnavailable`
    ServiceUnavailable,
    /// `VaultLocked`
    VaultLocked,
    /// `proxy.service_error`
    ProxyServiceError,
    /// `proxy.batch_protection`
    ProxyBatchProtection,
    /// `Internal`
    Internal,
    /// `SessionError`
    SessionError,
    /// `AlertNotFound`
    AlertNotFound,
    /// `AlertError`
    AlertError,
    /// `CommsError`
    CommsError,
    /// `RecipientNotFound`
    RecipientNotFound,
    /// `OperationBlocked`
    OperationBlocked,
    /// `MissingParameter`
    MissingParameter,
    /// `BatchProtection`
    BatchProtection,
    /// `MessageNotFound`
    MessageNotFound,
    /// `WriteFailed`
    WriteFailed,
    /// `NoLabelsProvided`
    NoLabelsProvided,
    /// `BodyFetchFailed`
    BodyFetchFailed,
    /// `DatabaseError`
    DatabaseError,
    /// `DiskFull`
    DiskFull,
    /// `DestinationExists`
    DestinationExists,
    /// `DirectoryNotEmpty`
    DirectoryNotEmpty,
    /// `MatchCountMismatch`
    MatchCountMismatch,
    /// `InvalidPattern`
    InvalidPattern,
    /// `DirectoryNotFound`
    DirectoryNotFound,
    /// `NotADirectory`
    NotADirectory,
    /// `EncodingError`
    EncodingError,
    /// `TooManyWatches`
    TooManyWatches,
    /// `ParentNotFound`
    ParentNotFound,
    /// `NotARepository`
    NotARepository,
    /// `BranchNotFound`
    BranchNotFound,
    /// `BranchAlreadyExists`
    BranchAlreadyExists,
    /// `InvalidAction`
    InvalidAction,
    /// `CloneFailed`
    CloneFailed,
    /// `NothingToCommit`
    NothingToCommit,
    /// `CommitFailed`
    CommitFailed,
    /// `CommitNotFound`
    CommitNotFound,
    /// `InitFailed`
    InitFailed,
    /// `MergeConflict`
    MergeConflict,
    /// `PullFailed`
    PullFailed,
    /// `PushRejected`
    PushRejected,
    /// `PushFailed`
    PushFailed,
    /// `ScopeViolation`
    ScopeViolation,
    /// `HostNotAllowed`
    HostNotAllowed,
    /// `SecretNotFound`
    SecretNotFound,
    /// `DnsResolutionFailed`
    DnsResolutionFailed,
    /// `DomainNotAllowed`
    DomainNotAllowed,
    /// `InvalidUrl`
    InvalidUrl,
    /// `ChecksumMismatch`
    ChecksumMismatch,
    /// `DownloadFailed`
    DownloadFailed,
    /// `RequestFailed`
    RequestFailed,
    /// `InvalidMethod`
    InvalidMethod,
    /// `InvalidPort`
    InvalidPort,
    /// `ConnectionFailed`
    ConnectionFailed,
    /// `ProcessNotFound`
    ProcessNotFound,
    /// `ProcessAlreadyExited`
    ProcessAlreadyExited,
    /// `KillFailed`
    KillFailed,
    /// `InvalidFilter`
    InvalidFilter,
    /// `InvalidStream`
    InvalidStream,
    /// `CommandNotFound`
    CommandNotFound,
    /// `ResourceLimitExceeded`
    ResourceLimitExceeded,
    /// `SpawnFailed`
    SpawnFailed,
    /// `InvalidCronExpression`
    InvalidCronExpression,
    /// `SchedulerError`
    SchedulerError,
    /// `InvalidDelay`
    InvalidDelay,
    /// `VaultError`
    VaultError,
    /// `IoError`
    IoError,
    /// `BackupNotFound`
    BackupNotFound,
    /// `DecryptionFailed`
    DecryptionFailed,
    /// `InvalidTimestamp`
    InvalidTimestamp,
    /// `KeyNotFound`
    KeyNotFound,
    /// `SessionNotFound`
    SessionNotFound,
    /// `SubscriptionFailed`
    SubscriptionFailed,
    /// `SnapshotNotFound`
    SnapshotNotFound,
    /// `HealthCheckError`
    HealthCheckError,
    /// `SystemInfoError`
    SystemInfoError,
    /// `MetricsError`
    MetricsError,
    /// `InvalidTimezone`
    InvalidTimezone,
}

/// One entry of the catalogue.
#[derive(Debug)]
pub struct ErrorSpec {
    /// The `error_type` on the wire.
    pub code: &'static str,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Seconds after which to retry, where the catalogue says.
    pub retry_after: Option<u64>,
    /// For the operator; `{key}` is filled from the context.
    pub description: &'static str,
    /// For the model; `{key}` is filled from the context.
    pub agent_description: &'static str,
    /// What the caller can do.
    pub recovery: &'static [RecoverySpec],
    /// The HTTP status on REST interfaces.
    pub http_status: u16,
    /// Whether any capability may return it without declaring it.
    pub common: bool,
    /// The class that the SDKs raise.
    pub exception: &'static str,
}

/// A recovery action of the catalogue.
#[derive(Debug)]
pub struct RecoverySpec {
    /// The verb.
    pub action: &'static str,
    /// What to do.
    pub description: &'static str,
    /// The capability that does it.
    pub capability: Option<&'static str>,
}

impl ErrorType {
    /// Every error.
    pub const ALL: &'static [ErrorType] = &[
        ErrorType::AuthInvalidCredentials,
        ErrorType::AuthAgentRevoked,
        ErrorType::AuthUserTokenRevoked,
        ErrorType::AuthRateLimited,
        ErrorType::SessionLimit,
        ErrorType::NotAuthenticated,
        ErrorType::SessionExpired,
        ErrorType::SessionPaused,
        ErrorType::PolicyDenied,
        ErrorType::ApprovalPending,
        ErrorType::ApprovalRejected,
        ErrorType::ApprovalExpired,
        ErrorType::InvalidInput,
        ErrorType::CapabilityNotFound,
        ErrorType::PathOutOfScope,
        ErrorType::FileNotFound,
        ErrorType::PermissionDenied,
        ErrorType::QuotaExceeded,
        ErrorType::ResourceExhausted,
        ErrorType::RateLimited,
        ErrorType::Timeout,
        ErrorType::ConflictError,
        ErrorType::VersionConflict,
        ErrorType::ServiceUnavailable,
        ErrorType::VaultLocked,
        ErrorType::ProxyServiceError,
        ErrorType::ProxyBatchProtection,
        ErrorType::Internal,
        ErrorType::SessionError,
        ErrorType::AlertNotFound,
        ErrorType::AlertError,
        ErrorType::CommsError,
        ErrorType::RecipientNotFound,
        ErrorType::OperationBlocked,
        ErrorType::MissingParameter,
        ErrorType::BatchProtection,
        ErrorType::MessageNotFound,
        ErrorType::WriteFailed,
        ErrorType::NoLabelsProvided,
        ErrorType::BodyFetchFailed,
        ErrorType::DatabaseError,
        ErrorType::DiskFull,
        ErrorType::DestinationExists,
        ErrorType::DirectoryNotEmpty,
        ErrorType::MatchCountMismatch,
        ErrorType::InvalidPattern,
        ErrorType::DirectoryNotFound,
        ErrorType::NotADirectory,
        ErrorType::EncodingError,
        ErrorType::TooManyWatches,
        ErrorType::ParentNotFound,
        ErrorType::NotARepository,
        ErrorType::BranchNotFound,
        ErrorType::BranchAlreadyExists,
        ErrorType::InvalidAction,
        ErrorType::CloneFailed,
        ErrorType::NothingToCommit,
        ErrorType::CommitFailed,
        ErrorType::CommitNotFound,
        ErrorType::InitFailed,
        ErrorType::MergeConflict,
        ErrorType::PullFailed,
        ErrorType::PushRejected,
        ErrorType::PushFailed,
        ErrorType::ScopeViolation,
        ErrorType::HostNotAllowed,
        ErrorType::SecretNotFound,
        ErrorType::DnsResolutionFailed,
        ErrorType::DomainNotAllowed,
        ErrorType::InvalidUrl,
        ErrorType::ChecksumMismatch,
        ErrorType::DownloadFailed,
        ErrorType::RequestFailed,
        ErrorType::InvalidMethod,
        ErrorType::InvalidPort,
        ErrorType::ConnectionFailed,
        ErrorType::ProcessNotFound,
        ErrorType::ProcessAlreadyExited,
        ErrorType::KillFailed,
        ErrorType::InvalidFilter,
        ErrorType::InvalidStream,
        ErrorType::CommandNotFound,
        ErrorType::ResourceLimitExceeded,
        ErrorType::SpawnFailed,
        ErrorType::InvalidCronExpression,
        ErrorType::SchedulerError,
        ErrorType::InvalidDelay,
        ErrorType::VaultError,
        ErrorType::IoError,
        ErrorType::BackupNotFound,
        ErrorType::DecryptionFailed,
        ErrorType::InvalidTimestamp,
        ErrorType::KeyNotFound,
        ErrorType::SessionNotFound,
        ErrorType::SubscriptionFailed,
        ErrorType::SnapshotNotFound,
        ErrorType::HealthCheckError,
        ErrorType::SystemInfoError,
        ErrorType::MetricsError,
        ErrorType::InvalidTimezone,
    ];

    /// The entry of the catalogue.
    #[must_use]
    pub fn spec(self) -> &'static ErrorSpec {
        &SPECS[self as usize]
    }

    /// The `error_type` on the wire.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.spec().code
    }

    /// The error with this `error_type`.
    #[must_use]
    pub fn from_code(code: &str) -> Option<ErrorType> {
        Self::ALL.iter().copied().find(|t| t.code() == code)
    }
}

#[rustfmt::skip]
static SPECS: [ErrorSpec; 100] = [
    ErrorSpec {
        code: "auth.invalid_credentials",
        retryable: false,
        retry_after: None,
        description: "The token was not accepted.",
        agent_description: "The token you sent is not valid. Check that the whole token is sent as «Authorization: Bearer <token>», or ask the operator for a new one.",
        http_status: 401,
        common: true,
        exception: "AuthenticationError",
        recovery: &[
            RecoverySpec { action: "check_credentials", description: "Check that the client sends the whole token, unchanged; if it is lost, the operator can rotate it.", capability: None },
        ],
    },
    ErrorSpec {
        code: "auth.agent_revoked",
        retryable: false,
        retry_after: None,
        description: "Agent '{name}' is revoked; its token is no longer accepted.",
        agent_description: "Your access to this gateway has been revoked. Stop calling it; only the operator can give access again.",
        http_status: 401,
        common: true,
        exception: "AuthenticationError",
        recovery: &[
            RecoverySpec { action: "contact_admin", description: "Ask the operator why access was revoked.", capability: None },
            RecoverySpec { action: "create_new_agent", description: "The operator can register a new agent, which gets a token of its own.", capability: None },
        ],
    },
    ErrorSpec {
        code: "auth.user_token_revoked",
        retryable: false,
        retry_after: None,
        description: "The user token '{name}' is revoked.",
        agent_description: "The user token you connected with has been revoked. Stop calling the gateway; its owner must make a new token.",
        http_status: 401,
        common: true,
        exception: "AuthenticationError",
        recovery: &[
            RecoverySpec { action: "contact_admin", description: "Ask the owner of the token or the operator.", capability: None },
            RecoverySpec { action: "create_new_agent", description: "The operator can make a new user token or register an agent.", capability: None },
        ],
    },
    ErrorSpec {
        code: "auth.rate_limited",
        retryable: true,
        retry_after: Some(60),
        description: "More than {limit} failed sign-ins from one address within {window_seconds} s; the address has to wait.",
        agent_description: "Too many sign-ins from your address have failed. Wait for retry_after seconds, then connect once with the right token.",
        http_status: 429,
        common: true,
        exception: "RateLimitedError",
        recovery: &[
            RecoverySpec { action: "wait_and_retry", description: "Wait for retry_after seconds, and correct the token before the next attempt.", capability: None },
        ],
    },
    ErrorSpec {
        code: "session.limit",
        retryable: true,
        retry_after: None,
        description: "Agent '{agent}' is connected from another client, and session.on_conflict refuses a second connection.",
        agent_description: "Another client is connected with your name, and this gateway allows one at a time. Close that connection, or wait until it ends, and connect again.",
        http_status: 409,
        common: true,
        exception: "SessionLimitError",
        recovery: &[
            RecoverySpec { action: "close_other_session", description: "Close the other client, or ask the operator to end its session.", capability: None },
        ],
    },
    ErrorSpec {
        code: "NotAuthenticated",
        retryable: false,
        retry_after: None,
        description: "The request came without a proven identity: {reason}.",
        agent_description: "You are not signed in: {reason}. Connect again with your token, then repeat the call.",
        http_status: 401,
        common: true,
        exception: "AuthenticationError",
        recovery: &[
            RecoverySpec { action: "reconnect", description: "Connect again and send the token with the connection.", capability: None },
        ],
    },
    ErrorSpec {
        code: "SessionExpired",
        retryable: false,
        retry_after: None,
        description: "Session {session_id} has ended.",
        agent_description: "Your session has ended and its session state is gone. Connect again and repeat the call; what you stored with state.persistent.set is still there.",
        http_status: 401,
        common: true,
        exception: "SessionExpiredError",
        recovery: &[
            RecoverySpec { action: "reconnect", description: "Connect again with the token; the next call starts a new session.", capability: None },
        ],
    },
    ErrorSpec {
        code: "SessionPaused",
        retryable: true,
        retry_after: None,
        description: "Agent '{agent}' is paused; its calls are refused until it is resumed.",
        agent_description: "The operator has paused you, and no call runs until you are resumed. Do not work around it; wait, then repeat the call.",
        http_status: 423,
        common: true,
        exception: "SessionPausedError",
        recovery: &[
            RecoverySpec { action: "wait_and_retry", description: "Wait a minute or more, then repeat the call.", capability: None },
            RecoverySpec { action: "contact_supervisor", description: "Tell the user that the operator has paused this agent.", capability: None },
        ],
    },
    ErrorSpec {
        code: "PolicyDenied",
        retryable: false,
        retry_after: None,
        description: "Policy blocks {capability}: {rule} ({layer}).",
        agent_description: "The operator's policy does not allow {capability} with these arguments. Do not try to get the same effect another way; see what you may do with agent.policy, or ask the operator.",
        http_status: 403,
        common: true,
        exception: "PolicyDeniedError",
        recovery: &[
            RecoverySpec { action: "check_policy", description: "See which rules apply to you.", capability: Some("agent.policy") },
            RecoverySpec { action: "request_escalation", description: "Tell the operator what you need and why.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "ApprovalPending",
        retryable: false,
        retry_after: None,
        description: "{capability} waits for approval as request {request_id}.",
        agent_description: "{capability} has not run yet: it waits for a person to approve request {request_id}. Tell the user so, go on with other work, and make the same call again later to get the result; it runs once, however often you ask.",
        http_status: 202,
        common: true,
        exception: "ApprovalRequiredError",
        recovery: &[
            RecoverySpec { action: "wait_for_approval", description: "Make exactly the same call again later: it waits for the same request and hands over the result once there is a decision.", capability: None },
            RecoverySpec { action: "check_status", description: "Ask for the state of the request by its id, where the client can: approvals.status, or the task of the call.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ApprovalRejected",
        retryable: false,
        retry_after: None,
        description: "{decided_by} rejected request {request_id}: {reason}.",
        agent_description: "A person has rejected this call: {reason}. It did not run; do not repeat it unchanged, but take the reason into account or ask what is wanted instead.",
        http_status: 403,
        common: true,
        exception: "ApprovalRejectedError",
        recovery: &[
            RecoverySpec { action: "modify_and_retry", description: "Change the call so that it meets the reason given, and submit it as a new request.", capability: None },
            RecoverySpec { action: "contact_supervisor", description: "Ask the operator what would be acceptable.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "ApprovalExpired",
        retryable: false,
        retry_after: None,
        description: "Request {request_id} ended without a decision.",
        agent_description: "Nobody decided on request {request_id} in time, and the call did not run. If it is still needed, make the call again; that asks anew.",
        http_status: 409,
        common: true,
        exception: "ApprovalExpiredError",
        recovery: &[
            RecoverySpec { action: "resubmit", description: "Make the call again if it is still needed; it becomes a new request.", capability: None },
        ],
    },
    ErrorSpec {
        code: "InvalidInput",
        retryable: false,
        retry_after: None,
        description: "Input '{field}' was refused: {reason}. Expected: {expected}.",
        agent_description: "The input '{field}' was refused: {reason}. Correct it and call again; expected: {expected}.",
        http_status: 400,
        common: true,
        exception: "InvalidInputError",
        recovery: &[
            RecoverySpec { action: "fix_input", description: "Correct the field named in context.field as context.expected says, then call again.", capability: None },
        ],
    },
    ErrorSpec {
        code: "CapabilityNotFound",
        retryable: false,
        retry_after: None,
        description: "No capability is named '{capability}'.",
        agent_description: "There is no capability named '{capability}'. Use one of the names in context.suggestions if it is what you meant, or list what you can call with agent.capabilities.",
        http_status: 404,
        common: true,
        exception: "CapabilityNotFoundError",
        recovery: &[
            RecoverySpec { action: "list_capabilities", description: "See which capabilities there are.", capability: Some("agent.capabilities") },
        ],
    },
    ErrorSpec {
        code: "PathOutOfScope",
        retryable: false,
        retry_after: None,
        description: "The path {path} is outside what the agent may reach.",
        agent_description: "The path {path} is outside your workspace. Use a path relative to your workspace; agent.session tells where it is.",
        http_status: 403,
        common: true,
        exception: "PathOutOfScopeError",
        recovery: &[
            RecoverySpec { action: "check_scope", description: "See which workspace you have.", capability: Some("agent.session") },
            RecoverySpec { action: "use_workspace_path", description: "Give a path relative to the workspace, such as notes/todo.md.", capability: None },
        ],
    },
    ErrorSpec {
        code: "FileNotFound",
        retryable: false,
        retry_after: None,
        description: "There is nothing at {path}.",
        agent_description: "There is no file at {path}. List the directory above it or search for the name, then call again with the right path.",
        http_status: 404,
        common: true,
        exception: "FileNotFoundError",
        recovery: &[
            RecoverySpec { action: "list_directory", description: "List the directory it should be in.", capability: Some("filesystem.list") },
            RecoverySpec { action: "check_path", description: "Check spelling, upper and lower case, and that the path is relative to the workspace.", capability: None },
        ],
    },
    ErrorSpec {
        code: "PermissionDenied",
        retryable: false,
        retry_after: None,
        description: "The system does not permit {operation} on {path}.",
        agent_description: "The system does not permit {operation} on {path}. Look at its owner and permissions, or ask the operator for access.",
        http_status: 403,
        common: true,
        exception: "PermissionDeniedError",
        recovery: &[
            RecoverySpec { action: "check_permissions", description: "See the owner and the permissions.", capability: Some("filesystem.stat") },
            RecoverySpec { action: "request_access", description: "Ask the operator for access.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "QuotaExceeded",
        retryable: false,
        retry_after: None,
        description: "The quota for {scope} is {limit_bytes} bytes and {used_bytes} are used; nothing was stored.",
        agent_description: "Nothing was stored: {used_bytes} of your {limit_bytes} bytes for {scope} are used, and this would go over. Delete what you no longer need, or ask the operator for a larger quota.",
        http_status: 413,
        common: true,
        exception: "QuotaExceededError",
        recovery: &[
            RecoverySpec { action: "delete_unused", description: "Delete what is no longer needed, largest first.", capability: None },
            RecoverySpec { action: "request_increase", description: "Ask the operator for a larger quota.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "ResourceExhausted",
        retryable: false,
        retry_after: None,
        description: "A bound was reached: {resource}.",
        agent_description: "A bound of this gateway was reached: {resource}. Ask for less at once or free some, then call again.",
        http_status: 507,
        common: true,
        exception: "ResourceExhaustedError",
        recovery: &[
            RecoverySpec { action: "check_usage", description: "See how the machine and the gateway are doing.", capability: Some("system.health") },
            RecoverySpec { action: "cleanup", description: "Free what you hold, or ask for less in one call.", capability: None },
        ],
    },
    ErrorSpec {
        code: "RateLimited",
        retryable: true,
        retry_after: None,
        description: "More than {limit} calls within {window_seconds} s.",
        agent_description: "You have made more than {limit} of these calls within {window_seconds} seconds, and this one did not run. Wait {retry_after_seconds} seconds before you repeat it.",
        http_status: 429,
        common: true,
        exception: "RateLimitedError",
        recovery: &[
            RecoverySpec { action: "wait_and_retry", description: "Wait for retry_after seconds, then repeat the call.", capability: None },
        ],
    },
    ErrorSpec {
        code: "Timeout",
        retryable: true,
        retry_after: None,
        description: "{operation} did not end within {timeout_seconds} s and was stopped.",
        agent_description: "{operation} did not end within {timeout_seconds} seconds and was stopped. Try again with less work in one call, or with a longer timeout where the capability has one.",
        http_status: 504,
        common: true,
        exception: "TimeoutError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call, with less work in it.", capability: None },
            RecoverySpec { action: "increase_timeout", description: "Allow more time where the capability has a timeout input.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ConflictError",
        retryable: true,
        retry_after: None,
        description: "{resource} was changed by somebody else in the meantime.",
        agent_description: "{resource} changed since you last read it, and your change was not made. Read it again, then decide whether your change still fits.",
        http_status: 409,
        common: true,
        exception: "ConflictError",
        recovery: &[
            RecoverySpec { action: "re_read", description: "Read it again, then repeat the change on what is there now.", capability: None },
        ],
    },
    ErrorSpec {
        code: "VersionConflict",
        retryable: true,
        retry_after: None,
        description: "{resource} has version {actual_version}, not {expected_version}.",
        agent_description: "{resource} has version {actual_version} now, not {expected_version}, and nothing was stored. Read it again, merge your change, and store it with the new version.",
        http_status: 409,
        common: false,
        exception: "ConflictError",
        recovery: &[
            RecoverySpec { action: "re_read", description: "Read the value and its version again, merge, and store with that version.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ServiceUnavailable",
        retryable: true,
        retry_after: Some(60),
        description: "{service} is not available: {reason}.",
        agent_description: "{service} is not available at the moment: {reason}. Wait for retry_after seconds and try again.",
        http_status: 503,
        common: true,
        exception: "ServiceUnavailableError",
        recovery: &[
            RecoverySpec { action: "retry_later", description: "Wait for retry_after seconds, then repeat the call.", capability: None },
            RecoverySpec { action: "check_service_status", description: "See what works and what does not.", capability: Some("system.health") },
        ],
    },
    ErrorSpec {
        code: "VaultLocked",
        retryable: true,
        retry_after: None,
        description: "The vault is locked; no secret can be used until it is unlocked.",
        agent_description: "The vault with the secrets is locked, so this call could not use one. Only the operator can unlock it; send an alert, go on with other work, and try again later.",
        http_status: 503,
        common: true,
        exception: "ServiceUnavailableError",
        recovery: &[
            RecoverySpec { action: "alert_supervisor", description: "Ask the operator to unlock the vault.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "proxy.service_error",
        retryable: true,
        retry_after: Some(60),
        description: "{service} answered with an error: {message}.",
        agent_description: "{service} answered with an error: {message}. Wait for retry_after seconds and try again; if it persists, tell the user.",
        http_status: 502,
        common: true,
        exception: "ServiceUnavailableError",
        recovery: &[
            RecoverySpec { action: "retry_later", description: "Wait for retry_after seconds, then repeat the call.", capability: None },
        ],
    },
    ErrorSpec {
        code: "proxy.batch_protection",
        retryable: false,
        retry_after: None,
        description: "{count} of {operation} within {window_seconds} s; {threshold} are allowed without approval.",
        agent_description: "You have done {operation} {count} times within {window_seconds} seconds, and more than {threshold} need a person's approval. Stop and ask whether so many are meant.",
        http_status: 403,
        common: true,
        exception: "BatchProtectionError",
        recovery: &[
            RecoverySpec { action: "request_approval", description: "Tell the operator how many you need to do and why.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "Internal",
        retryable: true,
        retry_after: None,
        description: "The gateway failed; its log has the cause under {trace_id}.",
        agent_description: "Something failed inside the gateway, and it is not your fault. Try once more; if it fails again, report trace id {trace_id} to the operator.",
        http_status: 500,
        common: true,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call once. If it changes something, look first whether it was done.", capability: None },
            RecoverySpec { action: "report", description: "Give the operator the trace id.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "SessionError",
        retryable: true,
        retry_after: None,
        description: "The facts about the session could not be read.",
        agent_description: "The gateway could not read the facts about your session. Connect again, then repeat the call.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "reconnect", description: "Connect again with the token, then repeat the call.", capability: None },
        ],
    },
    ErrorSpec {
        code: "AlertNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no alert {alert_id} that the caller may see.",
        agent_description: "There is no alert {alert_id} among those you may see. List the alerts and use an id from there.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "list_alerts", description: "See the alerts and their ids.", capability: Some("alerts.list") },
        ],
    },
    ErrorSpec {
        code: "AlertError",
        retryable: true,
        retry_after: None,
        description: "The alerts could not be read or written.",
        agent_description: "The gateway could not store or read alerts. Try again in a moment; if the matter is urgent, tell the user directly.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "CommsError",
        retryable: true,
        retry_after: None,
        description: "Messages between agents could not be read or written.",
        agent_description: "The gateway could not deliver or read messages between agents. Try again in a moment; a message that you sent is not lost once it has an id.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "RecipientNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no agent named '{to}'.",
        agent_description: "There is no agent named '{to}', so nothing was sent. Check the spelling, or ask the operator for the agent's name.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_agents", description: "Ask the operator which agents there are.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "OperationBlocked",
        retryable: false,
        retry_after: None,
        description: "{operation} is blocked by design, whatever the policy says.",
        agent_description: "{operation} is blocked on this gateway, and nothing was done. Work on single items instead, or ask the operator to change that.",
        http_status: 403,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "use_individual_delete", description: "Do it for each item by itself.", capability: None },
            RecoverySpec { action: "request_policy_change", description: "Ask the operator to change it.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "MissingParameter",
        retryable: false,
        retry_after: None,
        description: "The parameter '{parameter}' has no value.",
        agent_description: "The parameter '{parameter}' is empty, and the call cannot work without it. Give a value and call again.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "provide_parameter", description: "Give the parameter named in context.parameter.", capability: None },
        ],
    },
    ErrorSpec {
        code: "BatchProtection",
        retryable: false,
        retry_after: None,
        description: "{count} of {operation} within {window_seconds} s; {threshold} are allowed without approval.",
        agent_description: "You have done {operation} {count} times within {window_seconds} seconds, and more than {threshold} need a person's approval. Stop and ask whether so many are meant.",
        http_status: 403,
        common: false,
        exception: "BatchProtectionError",
        recovery: &[
            RecoverySpec { action: "request_approval", description: "Tell the operator how many you need to do and why.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "MessageNotFound",
        retryable: false,
        retry_after: None,
        description: "Message {message_id} is not in the local copy of the service.",
        agent_description: "There is no message {message_id} in the synchronised data. Search for it again; if it is very new, wait for the next synchronisation.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "search", description: "Search for the message again.", capability: None },
            RecoverySpec { action: "wait_for_sync", description: "If it is very new, wait for the next synchronisation.", capability: None },
        ],
    },
    ErrorSpec {
        code: "WriteFailed",
        retryable: true,
        retry_after: None,
        description: "{service} did not take the change.",
        agent_description: "{service} did not take the change, and nothing was sent. Check the parameters, then try again in a minute.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_parameters", description: "Check that addresses, ids and texts are right.", capability: None },
            RecoverySpec { action: "retry_later", description: "Repeat the call in a minute.", capability: None },
        ],
    },
    ErrorSpec {
        code: "NoLabelsProvided",
        retryable: false,
        retry_after: None,
        description: "Neither labels to add nor labels to remove were given.",
        agent_description: "You gave no labels, so there was nothing to do. Give at least one label in add_labels or remove_labels.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "specify_labels", description: "Give labels to add or to remove.", capability: None },
        ],
    },
    ErrorSpec {
        code: "BodyFetchFailed",
        retryable: true,
        retry_after: None,
        description: "The body of message {message_id} could not be fetched from the service.",
        agent_description: "The text of message {message_id} could not be fetched from the mail service. Try again in a minute; sender, subject and date can be had from a search.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry_later", description: "Repeat the call in a minute.", capability: None },
        ],
    },
    ErrorSpec {
        code: "DatabaseError",
        retryable: true,
        retry_after: None,
        description: "The database did not answer as it should.",
        agent_description: "The stored data could not be read at the moment. Try again in a moment; if it fails again, tell the operator.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "DiskFull",
        retryable: false,
        retry_after: None,
        description: "There is no space left on the device of {path}; nothing was changed.",
        agent_description: "The disk is full, and {path} was left as it was. Delete what you no longer need or tell the operator, then try again.",
        http_status: 507,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_quota", description: "See how much space is left.", capability: Some("system.info") },
        ],
    },
    ErrorSpec {
        code: "DestinationExists",
        retryable: false,
        retry_after: None,
        description: "There is something at {path} already.",
        agent_description: "There is something at {path} already, and nothing was changed. Call again with overwrite true if it may be replaced, or choose another destination.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "overwrite", description: "Call again with overwrite true, or choose another destination.", capability: None },
        ],
    },
    ErrorSpec {
        code: "DirectoryNotEmpty",
        retryable: false,
        retry_after: None,
        description: "The directory {path} is not empty.",
        agent_description: "The directory {path} is not empty, so it was not deleted. List it and delete what is in it first, if that is meant.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "list_contents", description: "See what is in it.", capability: Some("filesystem.list") },
        ],
    },
    ErrorSpec {
        code: "MatchCountMismatch",
        retryable: false,
        retry_after: None,
        description: "The pattern matches {found} times where {expected} was expected; nothing was changed.",
        agent_description: "The pattern matches {found} times, not {expected}, and nothing was changed. Give more of the surrounding text so that it matches only what you mean, or set expected_replacements or replace_all.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "adjust_pattern", description: "See where it matches, then make the pattern fit.", capability: Some("filesystem.search_content") },
        ],
    },
    ErrorSpec {
        code: "InvalidPattern",
        retryable: false,
        retry_after: None,
        description: "The pattern {pattern} cannot be used: {reason}.",
        agent_description: "The pattern {pattern} cannot be used: {reason}. Correct it at the position in context.position, or use a simpler one.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "simplify", description: "Correct the pattern, or use a simpler one.", capability: None },
        ],
    },
    ErrorSpec {
        code: "DirectoryNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no directory at {path}.",
        agent_description: "There is no directory at {path}. Search for its name or list the directory above, then call again with the right path.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "search", description: "Look for the directory by its name.", capability: Some("filesystem.search") },
        ],
    },
    ErrorSpec {
        code: "NotADirectory",
        retryable: false,
        retry_after: None,
        description: "{path} is not a directory.",
        agent_description: "{path} is a file, not a directory. Read it with filesystem.read, or give the directory that it is in.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "read", description: "Read the file.", capability: Some("filesystem.read") },
        ],
    },
    ErrorSpec {
        code: "EncodingError",
        retryable: false,
        retry_after: None,
        description: "{path} is not text in the encoding asked for.",
        agent_description: "{path} is not text in the encoding asked for. Read it with encoding base64.",
        http_status: 422,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "try_binary", description: "Read it with encoding base64.", capability: Some("filesystem.read") },
        ],
    },
    ErrorSpec {
        code: "TooManyWatches",
        retryable: false,
        retry_after: None,
        description: "The bound on watched directories is reached.",
        agent_description: "You are watching as many directories as you may. Watch one directory further up with recursive and a pattern, or end watches that you no longer need.",
        http_status: 429,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "reduce_scope", description: "Watch less: one directory with a pattern instead of many.", capability: None },
            RecoverySpec { action: "cancel_existing", description: "End watches that are no longer needed.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ParentNotFound",
        retryable: false,
        retry_after: None,
        description: "The directory that {path} should be in does not exist.",
        agent_description: "The directory above {path} does not exist, and nothing was written. Call again with create_parents true if the path is right.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "create_parents", description: "Call again with create_parents true.", capability: None },
        ],
    },
    ErrorSpec {
        code: "NotARepository",
        retryable: false,
        retry_after: None,
        description: "{path} is not in a git repository.",
        agent_description: "{path} is not in a git repository. Clone one first, make one with git.init, or give the path of one.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "clone_first", description: "Clone the repository first.", capability: Some("git.clone") },
        ],
    },
    ErrorSpec {
        code: "BranchNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no branch '{branch}'.",
        agent_description: "There is no branch '{branch}'. List the branches and use a name from there.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "list_branches", description: "See which branches there are.", capability: Some("git.branch") },
        ],
    },
    ErrorSpec {
        code: "BranchAlreadyExists",
        retryable: false,
        retry_after: None,
        description: "There is a branch '{branch}' already.",
        agent_description: "There is a branch '{branch}' already, and nothing was changed. Switch to it, or choose another name.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "switch", description: "Switch to the branch that is there.", capability: Some("git.branch") },
            RecoverySpec { action: "choose_name", description: "Choose another name.", capability: None },
        ],
    },
    ErrorSpec {
        code: "InvalidAction",
        retryable: false,
        retry_after: None,
        description: "'{action}' is not an action of this capability.",
        agent_description: "'{action}' is not an action of this capability. Use one of those in context.allowed.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "use_valid_action", description: "Use one of the actions in context.allowed.", capability: None },
        ],
    },
    ErrorSpec {
        code: "CloneFailed",
        retryable: true,
        retry_after: None,
        description: "{url} could not be cloned: {reason}.",
        agent_description: "{url} could not be cloned: {reason}. Check the address and the branch, and whether the repository needs a credential.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_url", description: "Check the address and the branch.", capability: None },
            RecoverySpec { action: "check_auth", description: "The repository may need a credential: ask the operator.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "NothingToCommit",
        retryable: false,
        retry_after: None,
        description: "There is nothing to commit in {path}.",
        agent_description: "Nothing has changed in {path}, so there is no commit to make. Look at the status; files may need to be named first.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_status", description: "See what has changed.", capability: Some("git.status") },
        ],
    },
    ErrorSpec {
        code: "CommitFailed",
        retryable: false,
        retry_after: None,
        description: "git refused the commit: {reason}.",
        agent_description: "git refused the commit: {reason}. Look at the state of the repository, resolve it, and commit again.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_config", description: "Look at the state of the repository and at what git says.", capability: Some("git.status") },
        ],
    },
    ErrorSpec {
        code: "CommitNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no commit '{commit}'.",
        agent_description: "There is no commit '{commit}' in this repository. Look in the log and use an id from there.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_log", description: "See which commits there are.", capability: Some("git.log") },
        ],
    },
    ErrorSpec {
        code: "InitFailed",
        retryable: true,
        retry_after: None,
        description: "No repository could be made in {path}: {reason}.",
        agent_description: "No repository could be made in {path}: {reason}. Try again, or choose another directory.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: Some("git.init") },
        ],
    },
    ErrorSpec {
        code: "MergeConflict",
        retryable: false,
        retry_after: None,
        description: "The remote's changes conflict with local ones.",
        agent_description: "The remote's changes conflict with yours in the files named in context.files. Look at the differences, resolve them by editing, and commit.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_diff", description: "See what conflicts.", capability: Some("git.diff") },
        ],
    },
    ErrorSpec {
        code: "PullFailed",
        retryable: true,
        retry_after: None,
        description: "The remote could not be pulled: {reason}.",
        agent_description: "The remote could not be pulled: {reason}. Try again in a moment; if it asks for a credential, ask the operator.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: Some("git.pull") },
            RecoverySpec { action: "check_auth", description: "The remote may need a credential: ask the operator.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "PushRejected",
        retryable: false,
        retry_after: None,
        description: "The remote rejected the push of '{branch}': it has commits that are not here.",
        agent_description: "The remote has commits on '{branch}' that you do not have, and nothing was pushed. Pull, resolve what conflicts, and push again.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "pull_first", description: "Pull, then push again.", capability: Some("git.pull") },
        ],
    },
    ErrorSpec {
        code: "PushFailed",
        retryable: true,
        retry_after: None,
        description: "The push failed: {reason}.",
        agent_description: "The push failed: {reason}. Try again in a moment; if it asks for a credential, ask the operator.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: Some("git.push") },
            RecoverySpec { action: "check_auth", description: "The remote may need a credential: ask the operator.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "ScopeViolation",
        retryable: false,
        retry_after: None,
        description: "The secret '{secret}' is not meant for {capability}.",
        agent_description: "The secret '{secret}' is not meant for {capability}, and nothing was sent. See which secrets you may use for what.",
        http_status: 403,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_secrets", description: "See which secrets there are and what they are for.", capability: Some("secrets.list") },
        ],
    },
    ErrorSpec {
        code: "HostNotAllowed",
        retryable: false,
        retry_after: None,
        description: "The secret '{secret}' must not be sent to {host}.",
        agent_description: "The secret '{secret}' may not be sent to {host}, and nothing was sent. Ask the operator to allow the host if it is right.",
        http_status: 403,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "alert_supervisor", description: "Ask the operator to allow the host for this secret.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "SecretNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no secret '{secret}' that the caller may use.",
        agent_description: "There is no secret '{secret}' that you may use. See which there are, and use a name from there.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_secrets", description: "See which secrets there are.", capability: Some("secrets.list") },
        ],
    },
    ErrorSpec {
        code: "DnsResolutionFailed",
        retryable: true,
        retry_after: None,
        description: "The name {hostname} could not be resolved.",
        agent_description: "The name {hostname} could not be resolved. Check the spelling; if it is right, try again in a moment.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_hostname", description: "Check the spelling, and that it is a name without a scheme.", capability: None },
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "DomainNotAllowed",
        retryable: false,
        retry_after: None,
        description: "{domain} is not on the list of hosts that the agent may reach.",
        agent_description: "You may not reach {domain}, and nothing was sent. See which hosts your policy allows, or ask the operator to add it.",
        http_status: 403,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_policy", description: "See which hosts you may reach.", capability: Some("agent.policy") },
            RecoverySpec { action: "request_access", description: "Ask the operator to allow the host.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "InvalidUrl",
        retryable: false,
        retry_after: None,
        description: "The URL {url} cannot be used: {reason}.",
        agent_description: "The URL {url} cannot be used: {reason}. Give a whole URL that starts with https:// or http://.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "fix_url", description: "Give a whole URL that starts with https:// or http://.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ChecksumMismatch",
        retryable: true,
        retry_after: None,
        description: "The download has SHA-256 {actual}, not {expected}; it was thrown away.",
        agent_description: "The downloaded bytes are not those that the checksum promises, and nothing was kept. Download once more; if it happens again, do not use the file and check the checksum at its source.",
        http_status: 422,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Download it again: it may have been cut off.", capability: Some("network.download") },
            RecoverySpec { action: "verify_checksum", description: "Check the expected value at its source.", capability: None },
        ],
    },
    ErrorSpec {
        code: "DownloadFailed",
        retryable: true,
        retry_after: None,
        description: "{url} could not be downloaded: {reason}.",
        agent_description: "{url} could not be downloaded: {reason}. Nothing was kept; try again in a moment.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: Some("network.download") },
        ],
    },
    ErrorSpec {
        code: "RequestFailed",
        retryable: true,
        retry_after: None,
        description: "The request to {url} failed: {reason}.",
        agent_description: "The request to {url} got no answer: {reason}. Try again in a moment, or allow more time; it may have reached the server.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
            RecoverySpec { action: "increase_timeout", description: "Allow more time.", capability: None },
        ],
    },
    ErrorSpec {
        code: "InvalidMethod",
        retryable: false,
        retry_after: None,
        description: "'{method}' is not an HTTP method that may be used.",
        agent_description: "'{method}' is not an HTTP method that you can use. Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "use_valid_method", description: "Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.", capability: None },
        ],
    },
    ErrorSpec {
        code: "InvalidPort",
        retryable: false,
        retry_after: None,
        description: "{port} is not a port.",
        agent_description: "{port} is not a TCP port. Give a number from 1 to 65535.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "fix_port", description: "Give a port from 1 to 65535.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ConnectionFailed",
        retryable: true,
        retry_after: None,
        description: "No connection to {host}: {reason}.",
        agent_description: "No connection to {host} could be made: {reason}. Check that the name is right, then try again in a moment.",
        http_status: 502,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_host", description: "Check that the name exists.", capability: Some("network.dns_lookup") },
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ProcessNotFound",
        retryable: false,
        retry_after: None,
        description: "The caller has no process {process_id}.",
        agent_description: "You have no process {process_id}. List your processes and use an id from there.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "list_processes", description: "See your processes and their ids.", capability: Some("process.list") },
        ],
    },
    ErrorSpec {
        code: "ProcessAlreadyExited",
        retryable: false,
        retry_after: None,
        description: "Process {process_id} had ended already.",
        agent_description: "Process {process_id} has ended already, so there was nothing to stop. Look at how it ended.",
        http_status: 409,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_status", description: "See how it ended.", capability: Some("process.monitor") },
        ],
    },
    ErrorSpec {
        code: "KillFailed",
        retryable: true,
        retry_after: None,
        description: "Process {process_id} is still there after {signal}.",
        agent_description: "Process {process_id} did not end after {signal}. Send SIGKILL, which it cannot ignore.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "force_kill", description: "Call again with SIGKILL.", capability: Some("process.kill") },
        ],
    },
    ErrorSpec {
        code: "InvalidFilter",
        retryable: false,
        retry_after: None,
        description: "'{filter}' is not a filter of this capability.",
        agent_description: "'{filter}' is not a filter of this capability. Use one of those in context.allowed.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "use_valid_filter", description: "Use one of the filters in context.allowed.", capability: None },
        ],
    },
    ErrorSpec {
        code: "InvalidStream",
        retryable: false,
        retry_after: None,
        description: "'{stream}' is not an output stream.",
        agent_description: "'{stream}' is not an output stream of a process. Use stdout, stderr or both.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "use_valid_stream", description: "Use stdout, stderr or both.", capability: None },
        ],
    },
    ErrorSpec {
        code: "CommandNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no program '{command}' on the agent's path.",
        agent_description: "There is no program '{command}' that you can run. Check the spelling, or give the whole path of the program.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_path", description: "Check the spelling; the program may not be installed.", capability: None },
            RecoverySpec { action: "use_full_path", description: "Give the whole path of the program.", capability: None },
        ],
    },
    ErrorSpec {
        code: "ResourceLimitExceeded",
        retryable: false,
        retry_after: None,
        description: "The process used more than its limit of {resource} and was stopped.",
        agent_description: "The process used more {resource} than it may and was stopped. Allow more, within what your policy permits, or do less at once.",
        http_status: 507,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "increase_limits", description: "Allow more, up to the policy's limits.", capability: None },
            RecoverySpec { action: "optimize", description: "Do less at once, or in smaller pieces.", capability: None },
        ],
    },
    ErrorSpec {
        code: "SpawnFailed",
        retryable: true,
        retry_after: None,
        description: "'{command}' could not be started: {reason}.",
        agent_description: "'{command}' could not be started: {reason}. Check that it is a program that may be executed, then try again.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_permissions", description: "Check that the file may be executed.", capability: Some("filesystem.stat") },
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "InvalidCronExpression",
        retryable: false,
        retry_after: None,
        description: "The schedule '{expression}' cannot be used: {reason}.",
        agent_description: "The schedule '{expression}' cannot be used: {reason}. Write minute, hour, day of month, month and day of week, such as 0 7 * * 1-5.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "fix_expression", description: "Write five fields: minute, hour, day of month, month, day of week.", capability: None },
        ],
    },
    ErrorSpec {
        code: "SchedulerError",
        retryable: true,
        retry_after: None,
        description: "The schedules could not be read or written.",
        agent_description: "The gateway could not read or store schedules. Try again in a moment; list the schedules first if you are not sure whether yours was stored.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "InvalidDelay",
        retryable: false,
        retry_after: None,
        description: "A delay of {delay_seconds} s is not possible.",
        agent_description: "A delay of {delay_seconds} seconds is not possible. Give a number within the bounds in context.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "fix_delay", description: "Give a delay within context.minimum and context.maximum seconds.", capability: None },
        ],
    },
    ErrorSpec {
        code: "VaultError",
        retryable: true,
        retry_after: None,
        description: "The vault did not answer as it should.",
        agent_description: "The vault with the secrets did not answer. Try again in a moment; if it fails again, tell the operator.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "IoError",
        retryable: true,
        retry_after: None,
        description: "Reading or writing failed: {operation}.",
        agent_description: "The gateway's storage failed: {operation}. See whether there is space left, then try again.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_disk", description: "See how much disk space is left.", capability: Some("system.info") },
        ],
    },
    ErrorSpec {
        code: "BackupNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no backup {backup_id}.",
        agent_description: "There is no backup {backup_id}. List the backups and use an id from there.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "list_backups", description: "See which backups there are.", capability: Some("state.backup.list") },
        ],
    },
    ErrorSpec {
        code: "DecryptionFailed",
        retryable: false,
        retry_after: None,
        description: "Backup {backup_id} cannot be decrypted with the key that is there.",
        agent_description: "Backup {backup_id} cannot be decrypted with the key that this gateway has, and nothing was restored. Ask the operator for the key it was made with.",
        http_status: 422,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "check_vault", description: "Ask the operator for the key that the backup was made with.", capability: Some("alerts.send") },
        ],
    },
    ErrorSpec {
        code: "InvalidTimestamp",
        retryable: false,
        retry_after: None,
        description: "'{timestamp}' cannot be used as a time: {reason}.",
        agent_description: "'{timestamp}' cannot be used as a time: {reason}. Write it as RFC 3339, such as 2026-01-05T06:00:00Z.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "fix_format", description: "Write the time as RFC 3339, such as 2026-01-05T06:00:00Z.", capability: None },
        ],
    },
    ErrorSpec {
        code: "KeyNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no key '{key}'.",
        agent_description: "There is nothing stored under '{key}'. List the keys and use one from there, or store a value first.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "list_keys", description: "See which keys there are.", capability: None },
        ],
    },
    ErrorSpec {
        code: "SessionNotFound",
        retryable: false,
        retry_after: None,
        description: "The session that the state belongs to is over.",
        agent_description: "The session is over, and what it held is gone. Connect again; keep what must last with state.persistent.set.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "reconnect", description: "Connect again with the token.", capability: None },
        ],
    },
    ErrorSpec {
        code: "SubscriptionFailed",
        retryable: true,
        retry_after: None,
        description: "No watch could be set on '{key}'.",
        agent_description: "No watch could be set on '{key}', so you will get no events for it. Try again in a moment, or read the key from time to time.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: None },
        ],
    },
    ErrorSpec {
        code: "SnapshotNotFound",
        retryable: false,
        retry_after: None,
        description: "There is no snapshot {snapshot_id}.",
        agent_description: "There is no snapshot {snapshot_id}, and nothing was restored. List the snapshots and use an id from there.",
        http_status: 404,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "list_snapshots", description: "See which snapshots there are.", capability: Some("state.snapshot.list") },
        ],
    },
    ErrorSpec {
        code: "HealthCheckError",
        retryable: true,
        retry_after: None,
        description: "The health report could not be made.",
        agent_description: "The gateway could not tell how it is doing. Try again in a moment; if it fails again, tell the operator.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: Some("system.health") },
        ],
    },
    ErrorSpec {
        code: "SystemInfoError",
        retryable: true,
        retry_after: None,
        description: "The facts about the machine could not be read.",
        agent_description: "The facts about the machine could not be read. Try again in a moment; if it fails again, go on without them.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: Some("system.info") },
        ],
    },
    ErrorSpec {
        code: "MetricsError",
        retryable: true,
        retry_after: None,
        description: "The measurements could not be read.",
        agent_description: "The measurements could not be read. Try again in a moment; if it fails again, go on without them.",
        http_status: 500,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "retry", description: "Repeat the call in a moment.", capability: Some("system.metrics") },
        ],
    },
    ErrorSpec {
        code: "InvalidTimezone",
        retryable: false,
        retry_after: None,
        description: "'{timezone}' is not the name of a time zone.",
        agent_description: "'{timezone}' is not the name of a time zone. Use an IANA name such as Europe/Berlin, or leave it out for UTC.",
        http_status: 400,
        common: false,
        exception: "CapabilityError",
        recovery: &[
            RecoverySpec { action: "fix_timezone", description: "Use an IANA name such as Europe/Berlin, or leave it out for UTC.", capability: None },
        ],
    },
];
