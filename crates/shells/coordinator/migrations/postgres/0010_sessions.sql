-- Sessions of the contract: one host serves one zone. Times are microseconds since 1970.
CREATE TABLE sessions (
    id          BIGINT PRIMARY KEY,
    session_id  TEXT COLLATE "C" NOT NULL UNIQUE,
    host_id     TEXT COLLATE "C" NOT NULL,
    zone_id     TEXT COLLATE "C" NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'active', 'paused', 'ended', 'failed')),
    reason      TEXT,
    max_players BIGINT NOT NULL,
    metrics     TEXT NOT NULL, -- what it was told of its quality, JSON
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    started_at  BIGINT,
    ended_at    BIGINT
);

CREATE INDEX sessions_created ON sessions (created_at, id);
CREATE INDEX sessions_host ON sessions (host_id, status);
CREATE INDEX sessions_zone ON sessions (zone_id, status);
CREATE INDEX sessions_status ON sessions (status, ended_at);

-- What there was in a zone in all, sessions included that were forgotten since.
CREATE TABLE zone_totals (
    zone_id  TEXT COLLATE "C" PRIMARY KEY,
    sessions BIGINT NOT NULL,
    players  BIGINT NOT NULL
);
