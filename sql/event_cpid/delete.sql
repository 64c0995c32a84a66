DELETE FROM event_cpid WHERE position = ? AND domain = ? AND pid = ?
