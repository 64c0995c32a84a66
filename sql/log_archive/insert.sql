INSERT INTO log_archive (id, timestamp, agent, message, error, act, subject)
SELECT id, timestamp, agent, message, error, act, subject
FROM log
WHERE id <= ? AND timestamp < ?
