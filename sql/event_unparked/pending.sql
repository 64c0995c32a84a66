SELECT pending, pid, attempts FROM event_unparked WHERE group_id = ? AND pending > ? ORDER BY pending LIMIT ?
