DELETE FROM event_published WHERE group_id = ? AND parked = 1 AND first_position IN (
-- each row, joined by ,
  ?
-- end
)
