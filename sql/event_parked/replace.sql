REPLACE INTO event_parked (group_id, position, attempts, reason, consumer, parked, blocks, pid) VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?, COALESCE((SELECT e.pid FROM event e WHERE e.position = ?), ''))
-- end
