SELECT pid, since, agent FROM group_pause WHERE group_id = ? ORDER BY pid
