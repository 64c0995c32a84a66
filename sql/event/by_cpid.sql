SELECT e.position, e.id, e.timestamp, e.domain, e.pid, e.version, e.name,
       e.rid, e.publisher, e.published, e.metadata, e.data, e.links, e.deleted
FROM event_cpid l
JOIN event e ON e.position = l.position
WHERE l.domain = ? AND l.pid = ? AND l.position > ?
ORDER BY l.position
LIMIT ?
