SELECT group_id, position, attempts, retry_at, reason, consumer, losses
FROM event_retry
WHERE position = ?
ORDER BY group_id
