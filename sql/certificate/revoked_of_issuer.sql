-- For a revocation list: what would still count if it had not been revoked.
SELECT fingerprint, cert, revoked, reason
FROM certificate
WHERE issuer = ? AND validity > ? AND revoked IS NOT NULL
ORDER BY validity
LIMIT ?
