INSERT INTO keyring (active, kek_id, kdf, memory_kib, passes, lanes, salt, dek_id, wrapped, nonce, created)
VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
