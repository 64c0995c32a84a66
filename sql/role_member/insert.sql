INSERT INTO role_member (role, service, agent, created)
VALUES (?, ?, ?, ?)
