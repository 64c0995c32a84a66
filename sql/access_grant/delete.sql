DELETE FROM access_grant
WHERE id = ?
