SELECT position, deleted
FROM event
WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
