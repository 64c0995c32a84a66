SELECT id, name, domain, names, ordered, start_after FROM consumer_group WHERE id > ? ORDER BY id LIMIT 1000
