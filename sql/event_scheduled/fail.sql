UPDATE event_scheduled SET
  pending = NULL, paused = NULL, active_key = NULL, executed = ?, failed = ?, reason = ?
WHERE executed IS NULL AND id = ?
