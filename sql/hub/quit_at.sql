SELECT quit
FROM hub
WHERE id = ?
