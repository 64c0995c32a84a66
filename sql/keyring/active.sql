SELECT kek_id, kdf, memory_kib, passes, lanes, salt, dek_id, wrapped, nonce, created
FROM keyring
WHERE active = 1
