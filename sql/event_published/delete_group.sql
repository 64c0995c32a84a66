DELETE FROM event_published WHERE group_id = ? AND first_position <= ?
