-- Acts are ASCII, so bytes and characters are the same.
SELECT id, timestamp, agent, act, subject, message
FROM log
WHERE id > ? AND act IS NOT NULL AND timestamp >= ? AND SUBSTR(act, 1, LENGTH(?)) = ?
ORDER BY id
LIMIT ?
