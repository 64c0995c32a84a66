SELECT id, dek_id, nonce, sealed
FROM authority_mark
ORDER BY id
