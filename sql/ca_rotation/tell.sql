-- Hubs act on a replacement only when they have read what this count stands for.
UPDATE ca_rotation
SET trust = ?
WHERE id = ? AND step = 0
