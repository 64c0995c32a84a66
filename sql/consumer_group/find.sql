SELECT id, name, domain, names, ordered, start_after FROM consumer_group WHERE name = ? AND domain = ?
