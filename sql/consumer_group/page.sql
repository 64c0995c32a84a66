-- A group that consumes several domains comes whole, so the limit counts names.
SELECT id, name, domain, names, ordered, start_after
FROM consumer_group
WHERE name > ?
  AND name <= COALESCE(
    (SELECT MAX(page.name) FROM (
      SELECT DISTINCT n.name FROM consumer_group n WHERE n.name > ? ORDER BY n.name LIMIT ?
    ) page), '')
ORDER BY name, domain
