-- The agent was deleted or the User token revoked that made the request: nothing of it is for a later one
-- of the same name, not even by its id.
ALTER TABLE approvals ADD COLUMN owner_gone INTEGER NOT NULL DEFAULT 0;
