-- What a decision adds to a request: other inputs than were asked for, and what is remembered of it (JSON,
-- secrets hidden). Other inputs are sealed as the exact ones are.
ALTER TABLE approvals ADD COLUMN edited_inputs TEXT;
ALTER TABLE approvals ADD COLUMN sealed_edit BLOB;
ALTER TABLE approvals ADD COLUMN remembered TEXT;
-- The exact inputs are needed until the request has ended.
UPDATE approvals SET sealed_inputs = x''
WHERE state IN ('rejected', 'expired', 'cancelled', 'executed', 'failed');

-- Approvals given in advance. Which calls one covers is a policy condition, sealed because it can hold
-- whole inputs; `rule_digest` is what policy said of the call that it was given for.
CREATE TABLE grants (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    approval_id    TEXT NOT NULL,
    principal_kind TEXT NOT NULL,
    principal_name TEXT NOT NULL,
    scope          TEXT NOT NULL CHECK (scope IN ('session', 'task')),
    session_id     TEXT NOT NULL,
    interface      TEXT NOT NULL,
    capability     TEXT NOT NULL,
    rule_digest    TEXT NOT NULL,
    uses           INTEGER,
    used           INTEGER NOT NULL DEFAULT 0,
    granted_by     TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER,
    revoked_at     INTEGER,
    revoked_by     TEXT,
    shown          TEXT NOT NULL,
    sealed_pattern BLOB NOT NULL
) STRICT;
CREATE INDEX grants_live ON grants (principal_kind, principal_name, capability)
WHERE revoked_at IS NULL;
