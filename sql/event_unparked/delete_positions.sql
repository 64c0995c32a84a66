DELETE FROM event_unparked WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
