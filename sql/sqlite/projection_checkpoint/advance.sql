-- No row: somebody else has moved it, or it is retired.
UPDATE projection_checkpoint
SET position = ?, updated = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE name = ? AND generation = ? AND position = ? AND incarnation = ? AND retired = 0
