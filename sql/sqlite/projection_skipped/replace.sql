REPLACE INTO projection_skipped (name, generation, position, event_id, skipped)
VALUES (?, ?, ?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER))
