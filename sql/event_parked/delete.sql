DELETE FROM event_parked WHERE group_id = ? AND position IN (
-- each row, joined by ,
  ?
-- end
)
