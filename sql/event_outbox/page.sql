SELECT seq, id, publisher, domain, pid, name, created, failed, reason,
       COALESCE(OCTET_LENGTH(data), 0) + COALESCE(OCTET_LENGTH(metadata), 0)
       + COALESCE(OCTET_LENGTH(eids), 0) + COALESCE(OCTET_LENGTH(cpids), 0)
FROM event_outbox
WHERE seq > ? AND (failed IS NOT NULL OR ? = 0)
ORDER BY seq
LIMIT ?
