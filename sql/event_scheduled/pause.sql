UPDATE event_scheduled SET pending = NULL, paused = ? WHERE executed IS NULL AND id = ?
