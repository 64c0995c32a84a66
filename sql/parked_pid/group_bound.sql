-- Up to which row of a group the next page goes; null when nothing of it is left.
SELECT MAX(page.pid)
FROM (SELECT pid FROM parked_pid WHERE group_id = ? ORDER BY pid LIMIT 1000) page
