UPDATE event_scheduled SET pending = NULL, active_key = NULL, executed = ?, failed = ?, reason = ?
WHERE pending IS NOT NULL AND id = ?
