SELECT id, kind, subject, action, domain, name, expires, agent, created
FROM access_grant
WHERE kind = ? AND subject = ? AND id > ?
ORDER BY id
LIMIT ?
