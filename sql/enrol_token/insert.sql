INSERT INTO enrol_token (id, service, secret, uses, uses_max, expires, agent, created, withdrawn)
VALUES (?, ?, ?, 0, ?, ?, ?, ?, NULL)
