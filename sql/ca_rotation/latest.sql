SELECT id, kind, step, haste, agent, trust, begun, prepared, activated, retired, archived
FROM ca_rotation
ORDER BY id DESC
LIMIT 1
