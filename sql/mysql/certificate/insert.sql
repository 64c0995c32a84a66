INSERT INTO certificate (version, id, role, service, fingerprint, cert, dek_id, key_nonce, sealed_key,
                         issuer, validity_from, validity, created, updated, revoked)
VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), NULL)
