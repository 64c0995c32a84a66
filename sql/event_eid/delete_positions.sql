DELETE FROM event_eid WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
