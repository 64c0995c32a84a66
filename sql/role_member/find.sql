SELECT role
FROM role_member
WHERE role = ? AND service = ?
