UPDATE access_head
SET trust = trust + 1
WHERE id = 1
