-- An account's name is looked up by its lower-case form, with the same words on every database.
CREATE UNIQUE INDEX accounts_name ON accounts (lower(name));
