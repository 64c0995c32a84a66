INSERT OR FAIL INTO event_published (
  group_id, first_position, last_position, slot, events, hub, consumer, attempts, consumed_hub, consumed_spoke,
  success, failed, orphan, parked, reason
) SELECT * FROM (VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- end
) WHERE column1 IS NOT NULL
