INSERT INTO projection_checkpoint (name, generation, position, incarnation, retired, updated)
VALUES (?, ?, ?, ?, 0, CAST(unixepoch('subsec') * 1000 AS INTEGER))
