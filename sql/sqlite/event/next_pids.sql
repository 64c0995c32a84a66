-- A few index entries a call; the caller goes on after the last pid, so long eventlogs are jumped over.
SELECT pid
FROM event INDEXED BY event_eventlog
WHERE domain = ? AND pid > ? AND deleted IS NULL
ORDER BY pid, version
LIMIT 64
