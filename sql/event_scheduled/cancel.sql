UPDATE event_scheduled SET pending = NULL, active_key = NULL, executed = ?, cancelled = ?, reason = ?
WHERE pending IS NOT NULL AND id = ?
