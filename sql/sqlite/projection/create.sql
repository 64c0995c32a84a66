-- What a caller's own database keeps of its projections (SQLite). It may be run again.
CREATE TABLE IF NOT EXISTS projection (
  name    TEXT    NOT NULL,
  serving INTEGER NOT NULL,
  newest  INTEGER NOT NULL,
  PRIMARY KEY (name)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS projection_checkpoint (
  name        TEXT    NOT NULL,
  generation  INTEGER NOT NULL,
  position    INTEGER NOT NULL,
  incarnation INTEGER NOT NULL,
  retired     INTEGER NOT NULL,
  updated     INTEGER NOT NULL,
  PRIMARY KEY (name, generation)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS projection_skipped (
  name       TEXT    NOT NULL,
  generation INTEGER NOT NULL,
  position   INTEGER NOT NULL,
  event_id   TEXT    NOT NULL,
  skipped    INTEGER NOT NULL,
  PRIMARY KEY (name, generation, position)
) STRICT, WITHOUT ROWID
