SELECT domain
FROM event FORCE INDEX (event_eventlog)
WHERE domain > ? AND deleted IS NULL
ORDER BY domain, pid, version
LIMIT 1
