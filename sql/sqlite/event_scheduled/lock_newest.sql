-- Only one transaction writes at a time, so reading is as good as locking.
SELECT id, schedule_key, due, digest, created, pending, cancelled, position, reason,
       OCTET_LENGTH(data) + COALESCE(OCTET_LENGTH(metadata), 0)
       + COALESCE(OCTET_LENGTH(eids), 0) + COALESCE(OCTET_LENGTH(cpids), 0),
       executed, failed, paused, series, occurrence, recurrence
FROM event_scheduled
WHERE schedule_key = ? AND created < ?
ORDER BY schedule_key DESC, created DESC
LIMIT 1
