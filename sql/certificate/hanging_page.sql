SELECT id, version, fingerprint
FROM certificate
WHERE issuer = ? AND validity > ? AND revoked IS NULL AND created < ?
ORDER BY validity
LIMIT ?
