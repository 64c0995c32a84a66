-- Schedules that are paused, and schedules that recur.

-- A series is a row of its own beside its occurrences. It is never pending itself: recurrence says when it
-- occurs, occurrence which time of that is pending now, as the row with the id that follows from both. That row has
-- the series' id in series, and its own time by the rule in occurrence (due is that and its jitter). The
-- key is the series' alone.
ALTER TABLE event_scheduled ADD COLUMN paused INTEGER NULL;
ALTER TABLE event_scheduled ADD COLUMN series TEXT NULL;
ALTER TABLE event_scheduled ADD COLUMN occurrence INTEGER NULL;
ALTER TABLE event_scheduled ADD COLUMN recurrence TEXT NULL;
