DELETE FROM event_unparked WHERE group_id = ? AND position <= ?
