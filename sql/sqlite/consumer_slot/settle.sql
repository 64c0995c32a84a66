WITH move (slot, epoch, settled_through, succeeded, parked, discarded, outs) AS (VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?)
-- end
)
UPDATE consumer_slot SET
  settled_through = MAX(consumer_slot.settled_through, move.settled_through),
  succeeded = consumer_slot.succeeded + move.succeeded,
  parked = consumer_slot.parked + move.parked,
  discarded = consumer_slot.discarded + move.discarded,
  outs = COALESCE(move.outs, consumer_slot.outs)
FROM move
WHERE consumer_slot.group_id = ? AND consumer_slot.slot = move.slot
  AND consumer_slot.epoch = move.epoch AND consumer_slot.hub = ?
