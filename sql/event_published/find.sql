SELECT first_position FROM event_published WHERE group_id = ? AND first_position IN (
-- each row, joined by ,
  ?
-- end
)
