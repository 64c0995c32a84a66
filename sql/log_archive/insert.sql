INSERT INTO log_archive (id, timestamp, agent, message, error)
SELECT id, timestamp, agent, message, error
FROM log
WHERE id <= ? AND timestamp < ?
