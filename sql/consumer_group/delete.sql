DELETE FROM consumer_group WHERE id = ?
