UPDATE event_published SET parked = 0, failed = ?, reason = ?
WHERE group_id = ? AND parked = 1 AND first_position IN (
-- each row, joined by ,
  ?
-- end
)
