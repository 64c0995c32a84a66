-- Of one that counts, and that nobody has replaced since it was read.
UPDATE certificate
SET dek_id = NULL, key_nonce = NULL, sealed_key = NULL, updated = ?
WHERE version = 0 AND id = ? AND fingerprint = ? AND sealed_key IS NOT NULL
