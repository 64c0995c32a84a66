INSERT INTO consumer_group (id, name, domain, names, ordered, start_after, created) VALUES (?, ?, ?, ?, ?, ?, ?)
