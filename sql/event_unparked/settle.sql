UPDATE event_unparked SET pending = NULL WHERE group_id = ? AND pending IN (
-- each row, joined by ,
  ?
-- end
)
