UPDATE group_removed SET swept = ? WHERE group_id = ?
