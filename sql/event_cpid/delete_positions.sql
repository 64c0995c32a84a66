DELETE FROM event_cpid WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
