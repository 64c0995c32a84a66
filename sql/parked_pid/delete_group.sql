DELETE FROM parked_pid WHERE group_id = ? AND pid <= ?
