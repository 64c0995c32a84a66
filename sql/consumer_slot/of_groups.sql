SELECT s.group_id, s.slot, s.epoch, s.settled_through, s.succeeded, s.parked, s.discarded
FROM consumer_group g
JOIN consumer_slot s ON s.group_id = g.id
WHERE g.name > ? AND g.name <= ?
ORDER BY g.name, g.domain, s.slot
