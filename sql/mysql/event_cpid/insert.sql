INSERT INTO event_cpid (position, domain, pid) VALUES
-- each row, joined by ,
  (?, ?, ?)
-- end
