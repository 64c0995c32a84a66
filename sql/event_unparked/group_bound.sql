-- Up to which row of a group the next page goes; null when nothing of it is left.
SELECT MAX(page.position)
FROM (SELECT position FROM event_unparked WHERE group_id = ? AND position > 0 ORDER BY position LIMIT 1000) page
