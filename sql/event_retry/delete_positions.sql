DELETE FROM event_retry WHERE position IN (
-- each row, joined by ,
  ?
-- end
)
