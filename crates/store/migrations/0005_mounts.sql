-- Directories of the host that an agent sees at /mnt/<label>. They go with their agent.
CREATE TABLE mounts (
    agent TEXT NOT NULL REFERENCES agents (name) ON DELETE CASCADE,
    label TEXT NOT NULL,
    source TEXT NOT NULL,
    writable INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (agent, label)
) STRICT;
