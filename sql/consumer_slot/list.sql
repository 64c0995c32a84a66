SELECT slot, epoch, settled_through, succeeded, parked, discarded FROM consumer_slot WHERE group_id = ? ORDER BY slot
