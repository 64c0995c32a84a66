DELETE FROM event_outbox
WHERE failed IS NULL AND seq IN (
-- each row, joined by ,
  ?
-- end
)
