SELECT position FROM event_parked
WHERE group_id = ? AND pid = ? AND blocks = 1
ORDER BY position
LIMIT 1
