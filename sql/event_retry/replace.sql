REPLACE INTO event_retry (group_id, position, attempts, retry_at, reason, consumer, losses) VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?)
-- end
