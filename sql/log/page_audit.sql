-- Acts are ASCII, so bytes and characters are the same. The act is looked at row by row, so that lines
-- come in the order of their numbers without being sorted.
SELECT id, timestamp, agent, act, subject, message
FROM log
WHERE id > ? AND COALESCE(act, '') <> '' AND timestamp >= ? AND SUBSTR(act, 1, LENGTH(?)) = ?
ORDER BY id
LIMIT ?
