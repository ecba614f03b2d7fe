-- Whether the audit log has the entry of how a request stopped being pending. Until it has, a request
-- that was approved is not started; what a crash left without its entry is written at the next start.
ALTER TABLE approvals ADD COLUMN decision_audited INTEGER NOT NULL DEFAULT 1;
UPDATE approvals SET decision_audited = 0 WHERE state = 'pending';
CREATE INDEX approvals_unaudited ON approvals (seq) WHERE decision_audited = 0 AND state <> 'pending';
