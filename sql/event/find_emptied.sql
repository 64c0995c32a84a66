SELECT position
FROM event
WHERE deleted IS NOT NULL AND position IN (
-- each row, joined by ,
  ?
-- end
)
