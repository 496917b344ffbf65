-- What an operator switches while the coordinator runs. Times are unix seconds.
CREATE TABLE settings (
    name       TEXT   COLLATE "C" PRIMARY KEY,
    value      TEXT   NOT NULL,
    updated_at BIGINT NOT NULL
);
