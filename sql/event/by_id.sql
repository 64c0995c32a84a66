SELECT position, id, timestamp, domain, pid, version, name,
       rid, publisher, published, metadata, data, links, deleted
FROM event
WHERE id = ?
