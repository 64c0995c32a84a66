SELECT fingerprint, id
FROM certificate
WHERE fingerprint = ? AND revoked IS NULL AND validity > ?
