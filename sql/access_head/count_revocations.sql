UPDATE access_head
SET revocations = revocations + 1
WHERE id = 1
