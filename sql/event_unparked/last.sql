SELECT MAX(at)
FROM event_unparked
WHERE group_id = ?
