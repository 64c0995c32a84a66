-- No row: somebody else has begun this generation.
UPDATE projection SET newest = ? WHERE name = ? AND newest = ?
