SELECT id, internal_ip, internal_port, external_ip, external_port, software
FROM hub
WHERE quit IS NULL AND lease_until > CAST(unixepoch('subsec') * 1000 AS INTEGER)
ORDER BY id
