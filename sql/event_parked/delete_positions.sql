DELETE FROM event_parked WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
