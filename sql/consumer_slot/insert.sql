INSERT INTO consumer_slot (group_id, slot, hub, epoch, settled_through, succeeded, parked, discarded) VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?, ?)
-- end
