SELECT position, attempts, retry_at, reason, consumer, losses
FROM event_retry
WHERE group_id = ? AND position > ?
ORDER BY position
LIMIT ?
