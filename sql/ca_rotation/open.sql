SELECT id, kind, step, haste, agent, trust, begun, prepared, activated, retired, archived
FROM ca_rotation
WHERE open = 1
