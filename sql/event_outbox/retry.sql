UPDATE event_outbox SET failed = NULL, reason = NULL
WHERE failed IS NOT NULL AND seq IN (
-- each row, joined by ,
  ?
-- end
)
