SELECT g.id, g.name, g.domain, g.names, g.ordered, g.start_after,
       s.attempts_max, s.backoff_first_ms, s.backoff_max_ms, s.deadline_ms, s.credit_max, s.ordered, s.park
FROM consumer_group g
LEFT JOIN group_settings s ON s.group_id = g.id
WHERE g.name = ? AND g.domain = ?
