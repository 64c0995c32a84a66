INSERT INTO group_pause (group_id, pid, since, agent) VALUES (?, ?, ?, ?)
