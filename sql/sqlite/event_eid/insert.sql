INSERT OR FAIL INTO event_eid (position, eid) SELECT * FROM (VALUES
-- each row, joined by ,
  (?, ?)
-- end
) WHERE column1 IS NOT NULL
