DELETE FROM group_settings WHERE group_id = ?
