SELECT p.group_id, g.domain, p.pid
FROM event_parked p
JOIN consumer_group g ON g.id = p.group_id
WHERE p.position IN (
-- each row, joined by ,
  ?
-- end
)
