UPDATE hub
SET quit = CAST(unixepoch('subsec') * 1000 AS INTEGER)
WHERE id = ? AND quit IS NULL
