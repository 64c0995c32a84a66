UPDATE event_scheduled SET
  active_key = NULL, executed = ?, success = ?, position = COALESCE(?, position)
WHERE executed IS NULL AND id = ?
