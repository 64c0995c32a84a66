-- An eventlog's versions rise with its positions, so a cursor that is a position of this eventlog is
-- turned into a version first and the index starts there.
SELECT position, id, timestamp, domain, pid, version, name,
       rid, publisher, published, metadata, data, links, deleted
FROM event FORCE INDEX (event_eventlog)
WHERE domain = ? AND pid = ?
  AND version > COALESCE((SELECT c.version FROM event c WHERE c.position = ? AND c.domain = ? AND c.pid = ?), 0)
  AND position > ? AND position <= ?
ORDER BY version
LIMIT ?
