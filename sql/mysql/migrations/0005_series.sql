-- Schedules that are paused, and schedules that recur (MySQL 8.0.16+, MariaDB 10.6+).
-- DDL commits by itself here, so this can be run again after a crash in between: the columns are added
-- in one statement, and only if they are not there.

-- A series is a row of its own beside its occurrences. It is never pending itself: recurrence says when it
-- occurs, occurrence which time of that is pending now, as the row with the id that follows from both. That row has
-- the series' id in series, and its own time by the rule in occurrence (due is that and its jitter). The
-- key is the series' alone.
SET @eventflow_0005 = IF(
  (SELECT COUNT(*) FROM information_schema.columns
   WHERE table_schema = DATABASE() AND table_name = 'event_scheduled' AND column_name = 'recurrence') = 0,
  'ALTER TABLE event_scheduled
     ADD COLUMN paused     BIGINT        NULL,
     ADD COLUMN series     VARCHAR(64)   NULL,
     ADD COLUMN occurrence BIGINT        NULL,
     ADD COLUMN recurrence VARCHAR(2048) NULL',
  'DO 0'
);
PREPARE eventflow_0005 FROM @eventflow_0005;
EXECUTE eventflow_0005;
DEALLOCATE PREPARE eventflow_0005;
