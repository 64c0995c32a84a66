-- Roots, issuers and cross-certificates, active or not: what a root has signed. '0' follows '/'.
SELECT version, id, role, service, fingerprint, cert, dek_id, key_nonce, sealed_key,
       issuer, validity_from, validity, revoked, reason
FROM certificate
WHERE issuer >= 'root' AND issuer < 'root0'
ORDER BY id, version
