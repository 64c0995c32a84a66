UPDATE consumer_slot SET hub = ?, epoch = epoch + 1 WHERE group_id = ?
