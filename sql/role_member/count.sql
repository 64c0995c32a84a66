SELECT COUNT(*)
FROM role_member
