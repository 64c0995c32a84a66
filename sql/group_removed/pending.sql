SELECT group_id FROM group_removed WHERE swept IS NULL ORDER BY group_id LIMIT 1
