-- What may be done about parked events, and what is suspected of having ended a hub (SQLite).
-- It is run in one transaction.

-- blocks: its whole process is parked with it.
ALTER TABLE event_parked ADD COLUMN pid TEXT NOT NULL DEFAULT '';
ALTER TABLE event_parked ADD COLUMN blocks INTEGER NOT NULL DEFAULT 0;
UPDATE event_parked SET pid = COALESCE((SELECT e.pid FROM event e WHERE e.position = event_parked.position), '');
CREATE INDEX event_parked_pid ON event_parked (group_id, pid, position);

-- Processes that are parked as a whole: from the first of their rows in event_parked that blocks.
CREATE TABLE parked_pid (
  group_id       INTEGER NOT NULL,
  pid            TEXT    NOT NULL,
  PRIMARY KEY (group_id, pid)
) STRICT, WITHOUT ROWID;

-- What was done about parked events. act: 0 replayed, 1 discarded. pending repeats the position of a
-- replayed event until it is settled again, and is null afterwards. The columns from parked on are the
-- row of event_parked as it was.
CREATE TABLE event_unparked (
  group_id       INTEGER NOT NULL,
  position       INTEGER NOT NULL,
  at             INTEGER NOT NULL,
  act            INTEGER NOT NULL,
  pending        INTEGER NULL,
  pid            TEXT    NOT NULL,
  agent          TEXT    NOT NULL,
  why            TEXT    NULL,
  parked         INTEGER NOT NULL,
  attempts       INTEGER NOT NULL,
  reason         TEXT    NOT NULL,
  consumer       TEXT    NOT NULL,
  PRIMARY KEY (group_id, position, at)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX event_unparked_pending ON event_unparked (group_id, pending) WHERE pending IS NOT NULL;
CREATE INDEX event_unparked_position ON event_unparked (position, at);

-- losses: how often the event was with a consumer, or a hub, that was lost. outs: positions, with commas,
-- of the oldest events of the slot that members had when this row was last written.
ALTER TABLE event_retry ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE consumer_slot ADD COLUMN outs TEXT NOT NULL DEFAULT '';
