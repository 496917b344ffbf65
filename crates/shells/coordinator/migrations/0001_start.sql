-- Accounts, refresh tokens, zones. Times are unix seconds.
CREATE TABLE accounts (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    role       TEXT    NOT NULL CHECK (role IN ('player', 'host', 'gm', 'admin')),
    password   TEXT    NOT NULL, -- argon2id, PHC string
    created_at INTEGER NOT NULL
) STRICT;

-- A family is what grew out of one sign-in: each refresh uses one token up and adds the next.
CREATE TABLE refresh_tokens (
    hash       BLOB    PRIMARY KEY, -- SHA-256 of the token
    family     BLOB    NOT NULL,
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    revoked    INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_account ON refresh_tokens (account_id, issued_at);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);

CREATE TABLE zones (
    zone_id    TEXT    PRIMARY KEY,
    status     TEXT    NOT NULL CHECK (status IN ('enabled', 'disabled', 'maintenance')),
    body       TEXT    NOT NULL, -- the zone file, JSON
    updated_at INTEGER NOT NULL
) STRICT;
