SELECT pending, id FROM event_scheduled WHERE pending = ? AND id > ? ORDER BY pending, id LIMIT ?
