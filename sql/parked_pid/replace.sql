REPLACE INTO parked_pid (group_id, pid) VALUES
-- each row, joined by ,
  (?, ?)
-- end
