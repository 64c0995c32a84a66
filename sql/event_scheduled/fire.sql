-- Their events are in the log by now, some perhaps for longer.
UPDATE event_scheduled SET
  position = (SELECT event.position FROM event WHERE event.id = event_scheduled.id),
  pending = NULL, active_key = NULL, executed = ?, success = ?
WHERE pending IS NOT NULL AND id IN (
-- each row, joined by ,
  ?
-- end
)
