-- There are few rotations in the life of a database.
SELECT id, activated
FROM ca_rotation
WHERE kind = 'leaf' AND activated IS NOT NULL
ORDER BY id DESC
LIMIT 1
