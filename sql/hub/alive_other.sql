SELECT id, lease_until
FROM hub
WHERE id <> ? AND quit IS NULL AND lease_until > ?
ORDER BY lease_until DESC
LIMIT 1
