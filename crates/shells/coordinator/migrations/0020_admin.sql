-- Bans, the audit log, and orders of an operator's command to the process that has the live state.
-- Times are unix seconds.

-- A ban is entered once and lifted at most once; nothing else of it ever changes, so that the numbers
-- of bans and of lifted ones tell whether something is new.
CREATE TABLE bans (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id INTEGER REFERENCES accounts (id) ON DELETE CASCADE,
    device_key BLOB,              -- 32 bytes
    reason     TEXT    NOT NULL,
    set_by     TEXT    NOT NULL,
    set_at     INTEGER NOT NULL,
    ends_at    INTEGER,           -- none: until it is lifted
    lifted_at  INTEGER,
    CHECK ((device_key IS NULL) <> (account_id IS NULL))
) STRICT;

CREATE INDEX bans_account ON bans (account_id);
CREATE INDEX bans_device ON bans (device_key);

-- Names and not row ids: an entry outlives what it is about.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    target  TEXT    NOT NULL,
    before  TEXT,                 -- JSON
    after   TEXT,                 -- JSON
    address TEXT,
    outcome TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_at ON audit (at);

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TABLE orders (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    body     TEXT    NOT NULL,    -- JSON
    answer   TEXT                 -- JSON; none: not carried out yet
) STRICT;
