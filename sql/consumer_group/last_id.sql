SELECT MAX(id) FROM consumer_group
