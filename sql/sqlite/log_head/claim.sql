UPDATE log_head
SET position = CASE WHEN position = ? AND incarnation = ? THEN ? END, updated = ?
WHERE id = 1
