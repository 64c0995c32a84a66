SELECT position, deleted FROM event WHERE id = ?
