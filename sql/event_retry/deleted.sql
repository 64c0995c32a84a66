-- Failures of events that were deleted while a member had them: nobody tries them again.
SELECT r.position
FROM event_retry r
JOIN event e ON e.position = r.position
WHERE r.group_id = ? AND e.deleted IS NOT NULL
ORDER BY r.position
LIMIT ?
