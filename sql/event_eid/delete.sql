DELETE FROM event_eid WHERE position = ? AND eid = ?
