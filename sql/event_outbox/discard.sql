DELETE FROM event_outbox
WHERE failed IS NOT NULL AND seq IN (
-- each row, joined by ,
  ?
-- end
)
