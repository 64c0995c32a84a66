-- Events that services which share this database hand over in their own transactions (SQLite).
-- It is run in one transaction.

-- The hub appends each row to the log and deletes it in one transaction; a row that cannot be
-- appended stays, with the time and the reason in failed and reason. Services only insert.
CREATE TABLE event_outbox (
  seq       INTEGER PRIMARY KEY AUTOINCREMENT,
  id        TEXT    NOT NULL,
  publisher TEXT    NOT NULL,
  domain    TEXT    NOT NULL,
  pid       TEXT    NOT NULL,
  name      TEXT    NOT NULL,
  data      TEXT    NULL,
  rid       TEXT    NULL,
  timestamp INTEGER NULL,
  metadata  TEXT    NULL,
  eids      TEXT    NULL,
  cpids     TEXT    NULL,
  created   INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
  failed    INTEGER NULL,
  reason    TEXT    NULL
) STRICT;
CREATE INDEX event_outbox_failed ON event_outbox (failed, seq);
