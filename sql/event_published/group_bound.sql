-- Up to which run of a group the next page goes; null when nothing of it is left.
SELECT MAX(page.first_position)
FROM (SELECT first_position FROM event_published WHERE group_id = ? ORDER BY first_position LIMIT 1000) page
