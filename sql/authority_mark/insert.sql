INSERT INTO authority_mark (id, dek_id, nonce, sealed, created)
VALUES (?, ?, ?, ?, ?)
