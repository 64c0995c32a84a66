SELECT id
FROM certificate
WHERE version = 0 AND validity <= ? AND id > ?
ORDER BY id
LIMIT ?
