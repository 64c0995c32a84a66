-- Whoever finds something else than it had read was too late.
UPDATE ca_rotation
SET step = ?, open = ?, trust = ?, prepared = ?, activated = ?, retired = ?, archived = ?
WHERE id = ? AND step = ? AND trust = ?
