SELECT id, trust_loaded, trust_kept
FROM hub
WHERE quit IS NULL AND lease_until > CAST(unixepoch('subsec') * 1000 AS INTEGER)
ORDER BY id
