SELECT position, domain, pid
FROM event_cpid
WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
ORDER BY position, domain, pid
