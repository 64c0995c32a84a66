SELECT position, eid
FROM event_eid
WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
ORDER BY position, eid
