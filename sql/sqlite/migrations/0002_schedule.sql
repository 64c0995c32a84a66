-- Events that are appended when they are due (SQLite).
-- It is run in one transaction.

-- active_key and pending repeat schedule_key and due while the event has not been appended, and are
-- null afterwards: so a key has one pending schedule at most, and what is due is found among the
-- pending ones only.
CREATE TABLE event_scheduled (
  id             TEXT    NOT NULL,
  schedule_key   TEXT    NULL,
  active_key     TEXT    NULL,
  due            INTEGER NOT NULL,
  pending        INTEGER NULL,
  slot           INTEGER NOT NULL,
  domain         TEXT    NOT NULL,
  pid            TEXT    NOT NULL,
  name           TEXT    NOT NULL,
  rid            TEXT    NULL,
  publisher      TEXT    NOT NULL,
  timestamp      INTEGER NULL,
  metadata       TEXT    NULL,
  data           TEXT    NOT NULL,
  eids           TEXT    NULL,
  cpids          TEXT    NULL,
  digest         BLOB    NOT NULL,
  created        INTEGER NOT NULL,
  executed       INTEGER NULL,
  success        INTEGER NULL,
  failed         INTEGER NULL,
  cancelled      INTEGER NULL,
  position       INTEGER NULL,
  reason         TEXT    NULL,
  PRIMARY KEY (id)
) STRICT;
CREATE UNIQUE INDEX event_scheduled_active ON event_scheduled (active_key) WHERE active_key IS NOT NULL;
CREATE INDEX event_scheduled_pending ON event_scheduled (pending, id) WHERE pending IS NOT NULL;
CREATE INDEX event_scheduled_due ON event_scheduled (due, id);
CREATE INDEX event_scheduled_key ON event_scheduled (schedule_key, created) WHERE schedule_key IS NOT NULL;
