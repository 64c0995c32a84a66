-- One dependent look-up of the last index entry for each; as a list of SELECTs each would be planned.
SELECT wanted.place - 1, (
  SELECT event.version FROM event
  WHERE event.domain = wanted.domain COLLATE utf8mb4_bin AND event.pid = wanted.pid COLLATE utf8mb4_bin
  ORDER BY event.version DESC LIMIT 1
) FROM JSON_TABLE(?, '$[*]' COLUMNS (
  place FOR ORDINALITY,
  domain VARCHAR(128) PATH '$[0]',
  pid VARCHAR(128) PATH '$[1]'
)) AS wanted
