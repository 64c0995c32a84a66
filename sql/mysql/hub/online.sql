SELECT id, internal_ip, internal_port, external_ip, external_port, software
FROM hub
WHERE quit IS NULL AND lease_until > CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)
ORDER BY id
