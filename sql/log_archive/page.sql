SELECT id, timestamp, agent, message, error
FROM log_archive
WHERE id > ?
ORDER BY id
LIMIT ?
