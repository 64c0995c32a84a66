SELECT COUNT(*) FROM event_eid WHERE position = ? AND eid = ?
