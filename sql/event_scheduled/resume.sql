-- A series is never pending itself.
UPDATE event_scheduled SET pending = CASE WHEN recurrence IS NULL THEN due END, paused = NULL
WHERE executed IS NULL AND id = ?
