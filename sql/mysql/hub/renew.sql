-- An expired lease is not renewed: another hub may have taken its place.
UPDATE hub
SET lease_until = CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) + ?
WHERE id = ? AND quit IS NULL AND lease_until > CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)
