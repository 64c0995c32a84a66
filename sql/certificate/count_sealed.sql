SELECT COUNT(*)
FROM certificate
WHERE dek_id = ?
