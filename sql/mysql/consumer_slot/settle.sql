UPDATE (
-- each row, joined by UNION ALL
  SELECT CAST(? AS SIGNED) AS slot, CAST(? AS SIGNED) AS epoch, CAST(? AS SIGNED) AS settled_through,
    CAST(? AS SIGNED) AS succeeded, CAST(? AS SIGNED) AS parked, CAST(? AS SIGNED) AS discarded,
    CAST(? AS CHAR(512)) AS outs
-- end
) AS move STRAIGHT_JOIN consumer_slot ON consumer_slot.slot = move.slot
SET
  consumer_slot.settled_through = GREATEST(consumer_slot.settled_through, move.settled_through),
  consumer_slot.succeeded = consumer_slot.succeeded + move.succeeded,
  consumer_slot.parked = consumer_slot.parked + move.parked,
  consumer_slot.discarded = consumer_slot.discarded + move.discarded,
  consumer_slot.outs = COALESCE(move.outs, consumer_slot.outs)
WHERE consumer_slot.group_id = ? AND consumer_slot.epoch = move.epoch AND consumer_slot.hub = ?
