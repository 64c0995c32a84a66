REPLACE INTO event_parked (group_id, position, attempts, reason, consumer, parked) VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?)
-- end
