UPDATE event SET links = 1 WHERE id = ? AND deleted IS NULL
