SELECT position, eid
FROM event_eid
WHERE position >= ? AND position <= ?
ORDER BY position, eid
