DELETE FROM projection_skipped WHERE name = ? AND generation = ?
