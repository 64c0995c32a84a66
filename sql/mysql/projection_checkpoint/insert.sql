INSERT INTO projection_checkpoint (name, generation, position, incarnation, retired, updated)
VALUES (?, ?, ?, ?, 0, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED))
