SELECT wanted.key, (
  SELECT MAX(event.version) FROM event WHERE event.domain = wanted.value ->> 0 AND event.pid = wanted.value ->> 1
) FROM json_each(?) AS wanted
