SELECT position, domain, pid
FROM event_cpid
WHERE position >= ? AND position <= ?
ORDER BY position, domain, pid
