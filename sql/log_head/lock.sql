UPDATE log_head SET updated = updated WHERE id = 1
