-- What is parked first, then its event, whatever the statistics say.
SELECT p.position, e.id, e.pid, e.version, e.name, e.timestamp, p.parked, p.attempts, p.reason, p.consumer, p.blocks
FROM event_parked p
CROSS JOIN event e ON e.position = p.position
WHERE p.group_id = ? AND p.position > ?
ORDER BY p.position
LIMIT ?
