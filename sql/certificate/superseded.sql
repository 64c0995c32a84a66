SELECT fingerprint
FROM certificate
WHERE id = ? AND version > 0 AND superseded IS NOT NULL AND revoked IS NULL
ORDER BY version DESC
LIMIT ?
