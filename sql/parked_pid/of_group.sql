SELECT q.pid, (
  SELECT p.position FROM event_parked p
  WHERE p.group_id = q.group_id AND p.pid = q.pid AND p.blocks = 1
  ORDER BY p.position
  LIMIT 1
)
FROM parked_pid q
WHERE q.group_id = ? AND q.pid > ?
ORDER BY q.pid
LIMIT ?
