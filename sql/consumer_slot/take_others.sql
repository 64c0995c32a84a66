UPDATE consumer_slot SET hub = ?, epoch = epoch + 1 WHERE group_id = ? AND (hub IS NULL OR hub <> ?)
