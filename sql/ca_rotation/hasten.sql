UPDATE ca_rotation
SET haste = 1, trust = ?
WHERE id = ? AND open = 1 AND haste = 0
