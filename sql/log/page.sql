SELECT id, timestamp, agent, message, error
FROM log
WHERE id > ?
ORDER BY id
LIMIT ?
