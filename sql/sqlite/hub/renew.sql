-- An expired lease is not renewed: another hub may have taken its place.
UPDATE hub
SET lease_until = CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?
WHERE id = ? AND quit IS NULL AND lease_until > CAST(unixepoch('subsec') * 1000 AS INTEGER)
