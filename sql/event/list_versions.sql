SELECT version, position, deleted FROM event WHERE domain = ? AND pid = ? AND version > ? ORDER BY version LIMIT 1000
