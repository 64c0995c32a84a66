REPLACE INTO projection_skipped (name, generation, position, event_id, skipped)
VALUES (?, ?, ?, ?, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED))
