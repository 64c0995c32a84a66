-- Whoever would revoke it waits for the end of the transaction.
UPDATE certificate
SET updated = ?
WHERE fingerprint = ? AND revoked IS NULL AND validity > ?
