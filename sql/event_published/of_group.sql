SELECT slot, first_position, last_position
FROM event_published
WHERE group_id = ? AND first_position > ?
ORDER BY first_position
LIMIT ?
