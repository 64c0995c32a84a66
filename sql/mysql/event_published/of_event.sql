-- Group by group, whatever the statistics say: the other way round reads all settlements there are.
-- A run covers at most RUN_POSITIONS_MAX positions, so it cannot start further back than that.
SELECT g.id, g.name, g.domain, g.names,
       p.consumer, p.attempts, p.success, p.failed, p.parked, p.reason
FROM consumer_group g
STRAIGHT_JOIN event_published p ON p.group_id = g.id
WHERE p.first_position > ? AND p.first_position <= ? AND p.last_position >= ? AND p.slot = ?
ORDER BY g.name, g.domain, p.first_position
