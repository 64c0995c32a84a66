-- By position, whatever the statistics say: an index on the domain would sort the whole domain.
SELECT position, id, timestamp, domain, pid, version, name,
       rid, publisher, published, metadata, data, links, deleted
FROM event FORCE INDEX (PRIMARY)
WHERE position > ? AND position <= ? AND domain = ?
ORDER BY position
LIMIT ?
