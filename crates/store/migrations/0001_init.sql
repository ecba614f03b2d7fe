-- Times are microseconds since 1970-01-01T00:00:00Z. JSON is UTF-8 text. Booleans are 0 and 1.

CREATE TABLE agents (
    name             TEXT PRIMARY KEY,
    purpose          TEXT NOT NULL,
    policy_group     TEXT NOT NULL,
    workspace        TEXT NOT NULL,
    status           TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    last_seen_at     INTEGER,
    token_sha256     BLOB NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    token_generation INTEGER NOT NULL,
    settings         TEXT NOT NULL
) STRICT;

CREATE TABLE user_tokens (
    seq          INTEGER PRIMARY KEY,
    id           TEXT NOT NULL UNIQUE,
    label        TEXT NOT NULL,
    token_sha256 BLOB NOT NULL UNIQUE CHECK (length(token_sha256) = 32),
    created_at   INTEGER NOT NULL,
    revoked_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX user_tokens_live_label ON user_tokens (label) WHERE revoked_at IS NULL;

CREATE TABLE approvals (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    principal_kind  TEXT NOT NULL,
    principal_name  TEXT NOT NULL,
    session_id      TEXT NOT NULL,
    interface       TEXT NOT NULL,
    capability      TEXT NOT NULL,
    digest          TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired',
                        'cancelled', 'executing', 'executed', 'failed')),
    decided_by      TEXT,
    decided_at      INTEGER,
    decision_reason TEXT,
    scope           TEXT,
    finished_at     INTEGER,
    result_taken    INTEGER NOT NULL DEFAULT 0,
    -- The large columns last: SQLite walks through what stands before a column to reach it.
    reason          TEXT NOT NULL,
    rule            TEXT NOT NULL,
    risk_notes      TEXT NOT NULL,
    shown_inputs    TEXT NOT NULL,
    -- AES-256-GCM, bound to id, principal, capability and digest (seal.rs).
    sealed_inputs   BLOB NOT NULL,
    sealed_preview  BLOB NOT NULL,
    sealed_result   BLOB
) STRICT;
CREATE INDEX approvals_by_state ON approvals (state, seq);
CREATE INDEX approvals_by_principal ON approvals (principal_kind, principal_name, digest, seq);
CREATE INDEX approvals_results ON approvals (finished_at) WHERE sealed_result IS NOT NULL;

CREATE TABLE alerts (
    seq             INTEGER PRIMARY KEY,
    id              TEXT NOT NULL UNIQUE,
    severity        TEXT NOT NULL,
    message         TEXT NOT NULL,
    source          TEXT NOT NULL,
    context         TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('open', 'acknowledged')),
    count           INTEGER NOT NULL,
    first_at        INTEGER NOT NULL,
    last_at         INTEGER NOT NULL,
    acknowledged_by TEXT,
    acknowledged_at INTEGER
) STRICT;
-- What makes two open alerts one.
CREATE UNIQUE INDEX alerts_open ON alerts (source, severity, message) WHERE status = 'open';
CREATE INDEX alerts_by_time ON alerts (last_at, seq);

-- Keys are BLOBs of UTF-8: byte order, and no special meaning of NUL.
CREATE TABLE state_keys (
    id         INTEGER PRIMARY KEY,
    agent      TEXT NOT NULL,
    key        BLOB NOT NULL CHECK (length(key) BETWEEN 1 AND 512),
    version    INTEGER NOT NULL,
    live       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    all_bytes  INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (agent, key)
) STRICT;
-- Deleted keys in the order in which their history is given up.
CREATE INDEX state_keys_deleted ON state_keys (agent, updated_at, id) WHERE live = 0;

CREATE TABLE state_versions (
    seq            INTEGER PRIMARY KEY,
    key_id         INTEGER NOT NULL REFERENCES state_keys (id) ON DELETE CASCADE,
    version        INTEGER NOT NULL,
    deleted        INTEGER NOT NULL,
    size           INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    key_created_at INTEGER NOT NULL,
    value          TEXT,
    UNIQUE (key_id, version)
) STRICT;

-- Running totals, so that a set need not add up everything.
CREATE TABLE state_usage (
    agent     TEXT PRIMARY KEY,
    all_bytes INTEGER NOT NULL,
    keys_kept INTEGER NOT NULL,
    keys_live INTEGER NOT NULL
) STRICT;

CREATE TABLE facts (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_mark (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
