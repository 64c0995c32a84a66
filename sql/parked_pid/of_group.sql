SELECT q.pid, (
  SELECT MIN(p.position) FROM event_parked p
  WHERE p.group_id = q.group_id AND p.pid = q.pid AND p.blocks = 1
)
FROM parked_pid q
WHERE q.group_id = ? AND q.pid > ?
ORDER BY q.pid
LIMIT ?
