-- From one pid to the next by the index, without looking at the versions in between.
WITH RECURSIVE page (pid, number) AS (
  SELECT (
    SELECT e.pid FROM event e INDEXED BY event_eventlog
    WHERE e.domain = ?1 AND e.pid > ?2 AND e.deleted IS NULL ORDER BY e.pid, e.version LIMIT 1
  ), 1
  UNION ALL
  SELECT (
    SELECT e.pid FROM event e INDEXED BY event_eventlog
    WHERE e.domain = ?1 AND e.pid > page.pid AND e.deleted IS NULL ORDER BY e.pid, e.version LIMIT 1
  ), page.number + 1
  FROM page
  WHERE page.pid IS NOT NULL AND page.number < ?3
)
SELECT pid
FROM page
WHERE pid IS NOT NULL
