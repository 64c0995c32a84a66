SELECT seq, kind, value
FROM revocation
WHERE seq > ? AND at > ?
ORDER BY seq
LIMIT ?
