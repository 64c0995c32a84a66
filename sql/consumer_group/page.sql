-- A group that consumes several domains comes whole, so the limit counts names.
SELECT g.id, g.name, g.domain, g.names, g.ordered, g.start_after,
       s.attempts_max, s.backoff_first_ms, s.backoff_max_ms, s.deadline_ms, s.credit_max, s.ordered, s.park
FROM consumer_group g
LEFT JOIN group_settings s ON s.group_id = g.id
WHERE g.name > ?
  AND g.name <= COALESCE(
    (SELECT MAX(page.name) FROM (
      SELECT DISTINCT n.name FROM consumer_group n WHERE n.name > ? ORDER BY n.name LIMIT ?
    ) page), '')
ORDER BY g.name, g.domain
