-- What people decide about consumer groups (SQLite).
-- It is run in one transaction.

-- Null is the hub's default; ordered: null is what the group was made with.
CREATE TABLE group_settings (
  group_id         INTEGER NOT NULL,
  attempts_max     INTEGER NULL,
  backoff_first_ms INTEGER NULL,
  backoff_max_ms   INTEGER NULL,
  deadline_ms      INTEGER NULL,
  credit_max       INTEGER NULL,
  ordered          INTEGER NULL,
  park             TEXT    NULL,
  PRIMARY KEY (group_id)
) STRICT;

-- A pid of '' is the whole group.
CREATE TABLE group_pause (
  group_id       INTEGER NOT NULL,
  pid            TEXT    NOT NULL,
  since          INTEGER NOT NULL,
  agent          TEXT    NOT NULL,
  PRIMARY KEY (group_id, pid)
) STRICT, WITHOUT ROWID;

-- Rows stay for ever, so that no group gets the number of one that was. swept: when nothing of it
-- was left.
CREATE TABLE group_removed (
  group_id       INTEGER NOT NULL,
  name           TEXT    NOT NULL,
  domain         TEXT    NOT NULL,
  removed        INTEGER NOT NULL,
  agent          TEXT    NOT NULL,
  swept          INTEGER NULL,
  PRIMARY KEY (group_id)
) STRICT;
CREATE INDEX group_removed_swept ON group_removed (swept, group_id);
