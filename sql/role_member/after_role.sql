SELECT role, service, agent, created
FROM role_member
WHERE role > ?
ORDER BY role, service
LIMIT ?
