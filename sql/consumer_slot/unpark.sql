UPDATE consumer_slot SET parked = CASE WHEN parked > ? THEN parked - ? ELSE 0 END
WHERE group_id = ? AND slot = ?
