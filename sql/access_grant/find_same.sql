SELECT id
FROM access_grant
WHERE kind = ? AND subject = ? AND action = ? AND domain = ? AND COALESCE(name, '') = ? AND COALESCE(expires, 0) = ?
ORDER BY id
LIMIT 1
