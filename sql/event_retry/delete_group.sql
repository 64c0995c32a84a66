DELETE FROM event_retry WHERE group_id = ? AND position <= ?
