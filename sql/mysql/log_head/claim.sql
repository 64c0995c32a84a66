UPDATE log_head SET position = ?, updated = ? WHERE id = 1 AND position = ? AND incarnation = ?
