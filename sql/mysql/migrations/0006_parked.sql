-- What may be done about parked events, and what is suspected of having ended a hub
-- (MySQL 8.0.16+, MariaDB 10.6+).
-- DDL commits by itself here, so every statement can be run again after a crash in between: a column is
-- added only where it is missing.

-- event_parked.blocks: its whole process is parked with it.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'event_parked' AND column_name = 'pid');
SET @change = IF(@missing, 'ALTER TABLE event_parked
  ADD COLUMN pid VARCHAR(128) NOT NULL DEFAULT '''',
  ADD COLUMN blocks TINYINT NOT NULL DEFAULT 0,
  ADD KEY event_parked_pid (group_id, pid, position)', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
UPDATE event_parked SET pid = COALESCE((SELECT e.pid FROM event e WHERE e.position = event_parked.position), '');

-- Processes that are parked as a whole: from the first of their rows in event_parked that blocks.
CREATE TABLE IF NOT EXISTS parked_pid (
  group_id BIGINT       NOT NULL,
  pid      VARCHAR(128) NOT NULL,
  PRIMARY KEY (group_id, pid)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What was done about parked events. act: 0 replayed, 1 discarded. pending repeats the position of a
-- replayed event until it is settled again, and is null afterwards. The columns from parked on are the
-- row of event_parked as it was.
CREATE TABLE IF NOT EXISTS event_unparked (
  group_id BIGINT       NOT NULL,
  position BIGINT       NOT NULL,
  at       BIGINT       NOT NULL,
  act      TINYINT      NOT NULL,
  pending  BIGINT       NULL,
  pid      VARCHAR(128) NOT NULL,
  agent    VARCHAR(255) NOT NULL,
  why      VARCHAR(512) NULL,
  parked   BIGINT       NOT NULL,
  attempts BIGINT       NOT NULL,
  reason   VARCHAR(512) NOT NULL,
  consumer VARCHAR(255) NOT NULL,
  PRIMARY KEY (group_id, position, at),
  UNIQUE KEY event_unparked_pending (group_id, pending),
  KEY event_unparked_position (position, at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- losses: how often the event was with a consumer, or a hub, that was lost. outs: positions, with commas,
-- of the oldest events of the slot that members had when this row was last written.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'event_retry' AND column_name = 'losses');
SET @change = IF(@missing, 'ALTER TABLE event_retry ADD COLUMN losses BIGINT NOT NULL DEFAULT 0', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'consumer_slot' AND column_name = 'outs');
SET @change = IF(@missing, 'ALTER TABLE consumer_slot ADD COLUMN outs VARCHAR(512) NOT NULL DEFAULT ''''', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
