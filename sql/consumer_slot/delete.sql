DELETE FROM consumer_slot WHERE group_id = ?
