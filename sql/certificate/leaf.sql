-- With it: when it was made, whether a later one has taken its place, and whether the one that it took
-- the place of still counts.
SELECT c.version, c.id, c.role, c.service, c.fingerprint, c.cert, c.dek_id, c.key_nonce, c.sealed_key,
       c.issuer, c.validity_from, c.validity, c.revoked, c.reason, c.created, c.superseded,
       (SELECT CASE WHEN s.revoked IS NULL THEN 1 ELSE 0 END
        FROM certificate s
        WHERE s.id = c.id AND s.version > 0 AND s.superseded IS NOT NULL
        ORDER BY s.version DESC
        LIMIT 1)
FROM certificate c
WHERE c.fingerprint = ?
