-- The active one first: the others open for hubs that still have a former passphrase.
SELECT kek_id, kdf, memory_kib, passes, lanes, salt, dek_id, wrapped, nonce, created
FROM keyring
WHERE retired IS NULL
ORDER BY active DESC, created DESC, kek_id
LIMIT ?
