SELECT position, pid, attempts FROM event_unparked WHERE group_id = ? AND at = ? AND position IN (
-- each row, joined by ,
  ?
-- end
)
