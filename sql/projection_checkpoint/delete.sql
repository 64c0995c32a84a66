-- The generation that is read stays.
DELETE FROM projection_checkpoint
WHERE name = ? AND generation = ?
  AND NOT EXISTS (SELECT 1 FROM projection WHERE projection.name = ? AND projection.serving = ?)
