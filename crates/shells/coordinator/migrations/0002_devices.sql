-- Certificates that were issued, and what was revoked. Times are unix seconds.
CREATE TABLE certificates (
    serial     BLOB    PRIMARY KEY, -- 16 bytes
    account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    device_key BLOB    NOT NULL,    -- 32 bytes
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX certificates_account ON certificates (account_id, device_key);
CREATE INDEX certificates_device ON certificates (device_key);
CREATE INDEX certificates_expiry ON certificates (expires_at);

-- Either a device for ever, or what an account had been issued by then. A running coordinator
-- follows the ids, which only grow.
CREATE TABLE revocations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    device_key BLOB,
    account_id INTEGER REFERENCES accounts (id) ON DELETE CASCADE,
    revoked_at INTEGER NOT NULL,
    CHECK ((device_key IS NULL) <> (account_id IS NULL))
) STRICT;

CREATE INDEX revocations_device ON revocations (device_key);
CREATE INDEX revocations_account ON revocations (account_id, revoked_at);

-- Access tokens that were issued before this count for no certificate any more.
ALTER TABLE accounts ADD COLUMN tokens_from INTEGER NOT NULL DEFAULT 0;
