SELECT CAST(SUM(s.parked) AS SIGNED)
FROM consumer_group g
JOIN consumer_slot s ON s.group_id = g.id
WHERE g.name = ? AND g.domain = ?
