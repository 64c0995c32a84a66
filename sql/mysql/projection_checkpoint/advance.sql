-- No row: somebody else has moved it, or it is retired.
UPDATE projection_checkpoint
SET position = ?, updated = CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)
WHERE name = ? AND generation = ? AND position = ? AND incarnation = ? AND retired = 0
