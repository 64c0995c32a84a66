INSERT INTO certificate (version, id, role, service, fingerprint, cert, dek_id, key_nonce, sealed_key,
                         issuer, validity_from, validity, created, updated, revoked)
VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER), NULL)
