UPDATE event_scheduled SET occurrence = ?, position = COALESCE(?, position)
WHERE executed IS NULL AND id = ?
