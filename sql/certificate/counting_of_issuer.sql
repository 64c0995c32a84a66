-- A root has signed itself.
SELECT fingerprint, id
FROM certificate
WHERE issuer = ? AND validity > ? AND revoked IS NULL AND id <> ?
ORDER BY validity
LIMIT ?
