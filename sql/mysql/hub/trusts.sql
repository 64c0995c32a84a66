SELECT id, trust_loaded, trust_kept
FROM hub
WHERE quit IS NULL AND lease_until > CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)
ORDER BY id
