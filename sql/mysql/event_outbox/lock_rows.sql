-- Whoever holds one of them locked must not hold up the writer: then there is an error, at once.
SELECT seq, id, publisher, domain, pid, name, data, rid, timestamp, metadata, eids, cpids
FROM event_outbox
WHERE failed IS NULL AND seq IN (
-- each row, joined by ,
  ?
-- end
)
FOR UPDATE NOWAIT
