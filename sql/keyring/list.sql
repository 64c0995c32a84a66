SELECT kek_id, kdf, memory_kib, passes, lanes, salt, dek_id, wrapped, nonce, created, active, retired
FROM keyring
ORDER BY created, kek_id
LIMIT ?
