-- A few index entries a call; the caller goes on after the last pid, so long eventlogs are jumped over.
-- The domain is left out of the order: MariaDB sorts if it is in it and the connection's collation differs.
SELECT pid
FROM event FORCE INDEX (event_eventlog)
WHERE domain = ? AND pid > ? AND deleted IS NULL
ORDER BY pid, version
LIMIT ?
