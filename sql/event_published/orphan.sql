SELECT orphan
FROM event_published
WHERE group_id = 0 AND first_position > ? AND first_position <= ? AND last_position >= ?
ORDER BY first_position DESC
LIMIT 1
