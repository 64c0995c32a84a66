INSERT OR FAIL INTO event_scheduled (
  id, schedule_key, active_key, due, pending, slot, domain, pid, name, rid, publisher, timestamp,
  metadata, data, eids, cpids, digest, created,
  series, occurrence, recurrence
) SELECT * FROM (VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- end
) WHERE column1 IS NOT NULL
