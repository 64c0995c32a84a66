SELECT pending, id FROM event_scheduled WHERE pending > ? AND pending <= ? ORDER BY pending, id LIMIT ?
