SELECT grants, revocations, trust
FROM access_head
WHERE id = 1
