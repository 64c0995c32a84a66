SELECT COUNT(*) FROM event_cpid WHERE position = ?
