DELETE FROM group_pause WHERE group_id = ? AND pid = ?
