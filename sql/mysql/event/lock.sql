-- Whoever empties one of them meanwhile waits, and then finds what was made of it.
SELECT position, deleted
FROM event
WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
LOCK IN SHARE MODE
