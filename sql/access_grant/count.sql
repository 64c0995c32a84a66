SELECT COUNT(*)
FROM access_grant
