SELECT seq, created,
       COALESCE(OCTET_LENGTH(data), 0) + COALESCE(OCTET_LENGTH(metadata), 0)
       + COALESCE(OCTET_LENGTH(eids), 0) + COALESCE(OCTET_LENGTH(cpids), 0)
       + OCTET_LENGTH(id) + OCTET_LENGTH(publisher) + OCTET_LENGTH(domain) + OCTET_LENGTH(pid)
       + OCTET_LENGTH(name) + COALESCE(OCTET_LENGTH(rid), 0)
FROM event_outbox
WHERE failed IS NULL
ORDER BY seq
LIMIT ?
