SELECT id, schedule_key, due, pending, domain, pid, name, rid, publisher, timestamp, metadata, data,
       eids, cpids, digest, created, success, cancelled, failed, position, reason,
       executed, paused, series, occurrence, recurrence
FROM event_scheduled
WHERE due > ? AND domain = COALESCE(?, domain)
ORDER BY due, id
LIMIT ?
