SELECT id, kind, subject, action, domain, name, expires, agent, created
FROM access_grant
WHERE id = ?
