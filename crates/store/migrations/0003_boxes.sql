-- Which box a principal has: the number makes its uid on the host. A principal keeps it for good, since
-- its files in the workspace keep their owner, and nobody else gets it.
CREATE TABLE boxes (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    principal_kind TEXT NOT NULL,
    principal_name TEXT NOT NULL,
    UNIQUE (principal_kind, principal_name)
) STRICT;
