REPLACE INTO event_unparked (
  group_id, position, at, act, pending, pid, agent, why, parked, attempts, reason, consumer
) VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- end
