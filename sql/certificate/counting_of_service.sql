SELECT fingerprint, id
FROM certificate
WHERE service = ? AND revoked IS NULL AND validity > ? AND role = 'spoke'
ORDER BY id
LIMIT ?
