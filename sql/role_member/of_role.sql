SELECT role, service, agent, created
FROM role_member
WHERE role = ? AND service > ?
ORDER BY service
LIMIT ?
