INSERT INTO group_removed (group_id, name, domain, removed, agent) VALUES (?, ?, ?, ?, ?)
