-- Only of those that do not count any more.
UPDATE certificate
SET dek_id = NULL, key_nonce = NULL, sealed_key = NULL, updated = ?
WHERE id = ? AND version > 0
