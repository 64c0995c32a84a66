INSERT INTO event_eid (position, eid) VALUES
-- each row, joined by ,
  (?, ?)
-- end
