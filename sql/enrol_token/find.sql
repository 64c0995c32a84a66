SELECT id, service, secret, uses, uses_max, expires, agent, created, withdrawn
FROM enrol_token
WHERE id = ?
