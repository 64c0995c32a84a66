INSERT OR FAIL INTO event_cpid (position, domain, pid) SELECT * FROM (VALUES
-- each row, joined by ,
  (?, ?, ?)
-- end
) WHERE column1 IS NOT NULL
