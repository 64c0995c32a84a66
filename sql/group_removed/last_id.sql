SELECT MAX(group_id) FROM group_removed
