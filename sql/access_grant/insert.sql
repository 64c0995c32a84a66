INSERT INTO access_grant (kind, subject, action, domain, name, expires, agent, created)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
