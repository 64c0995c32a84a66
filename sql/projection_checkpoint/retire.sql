-- No row: it is ahead of the one that is to take its place. Positions of another log say nothing.
UPDATE projection_checkpoint
SET retired = 1
WHERE name = ? AND generation = ? AND (position <= ? OR incarnation <> ?)
