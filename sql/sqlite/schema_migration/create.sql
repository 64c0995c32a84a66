CREATE TABLE IF NOT EXISTS schema_migration (
  version INTEGER NOT NULL PRIMARY KEY,
  name    TEXT    NOT NULL,
  hash    TEXT    NOT NULL,
  applied INTEGER NOT NULL
) STRICT
