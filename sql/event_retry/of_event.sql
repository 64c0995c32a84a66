SELECT group_id, position, attempts, retry_at, reason, consumer
FROM event_retry
WHERE position = ?
ORDER BY group_id
