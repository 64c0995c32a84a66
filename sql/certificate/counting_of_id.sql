-- The active one, and former ones that count until they end.
SELECT fingerprint, id
FROM certificate
WHERE id = ? AND revoked IS NULL AND validity > ? AND role = 'spoke'
ORDER BY version
LIMIT ?
