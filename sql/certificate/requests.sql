-- What waits to be signed by a root elsewhere.
SELECT version, id, role, service, fingerprint, cert, dek_id, key_nonce, sealed_key,
       issuer, validity_from, validity, revoked, reason
FROM certificate
WHERE version = 0 AND id IN ('request/hub', 'request/spoke')
ORDER BY id
