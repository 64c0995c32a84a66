SELECT COUNT(*), MAX(validity)
FROM certificate
WHERE issuer = ? AND validity > ? AND revoked IS NULL AND created < ?
