INSERT INTO revocation (kind, value, reason, agent, at)
VALUES (?, ?, ?, ?, ?)
