-- Only what is in the archive: an entry that was committed after the copy waits for the next time.
DELETE FROM log
WHERE id <= ? AND timestamp < ? AND EXISTS (SELECT 1 FROM log_archive a WHERE a.id = log.id)
