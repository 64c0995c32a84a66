SELECT version, id, role, service, fingerprint, cert, dek_id, key_nonce, sealed_key,
       issuer, validity_from, validity, revoked, reason
FROM certificate
WHERE fingerprint = ?
