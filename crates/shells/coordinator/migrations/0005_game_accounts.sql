-- Accounts of a game server's table: its number there, and a keyed fingerprint of its password there.
-- Such an account has no password of its own (an empty text).
ALTER TABLE accounts ADD COLUMN game_id INTEGER;
ALTER TABLE accounts ADD COLUMN game_fingerprint BLOB;

CREATE UNIQUE INDEX accounts_game ON accounts (game_id);
