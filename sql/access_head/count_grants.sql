UPDATE access_head
SET grants = grants + 1
WHERE id = 1
