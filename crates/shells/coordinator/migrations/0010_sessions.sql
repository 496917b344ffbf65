-- Sessions of the contract: one host serves one zone. Times are microseconds since 1970.
CREATE TABLE sessions (
    id          INTEGER PRIMARY KEY,
    session_id  TEXT NOT NULL UNIQUE,
    host_id     TEXT NOT NULL,
    zone_id     TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'active', 'paused', 'ended', 'failed')),
    reason      TEXT,
    max_players INTEGER NOT NULL,
    metrics     TEXT NOT NULL, -- what it was told of its quality, JSON
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER
) STRICT;

CREATE INDEX sessions_created ON sessions (created_at, id);
CREATE INDEX sessions_host ON sessions (host_id, status);
CREATE INDEX sessions_zone ON sessions (zone_id, status);
CREATE INDEX sessions_status ON sessions (status, ended_at);

-- What there was in a zone in all, sessions included that were forgotten since.
CREATE TABLE zone_totals (
    zone_id  TEXT PRIMARY KEY,
    sessions INTEGER NOT NULL,
    players  INTEGER NOT NULL
) STRICT;
