SELECT domain
FROM event INDEXED BY event_eventlog
WHERE domain > ? AND deleted IS NULL
ORDER BY domain, pid, version
LIMIT 1
