SELECT group_id, act, pending, at, agent, why, parked, attempts, reason, consumer
FROM event_unparked
WHERE position = ?
ORDER BY at
LIMIT ?
