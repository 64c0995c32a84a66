INSERT INTO ca_rotation (id, open, kind, step, haste, agent, trust, begun)
VALUES (?, 1, ?, 0, ?, ?, ?, ?)
