-- One look-up of the last index entry for each. As a list of SELECTs each would be planned; and MySQL
-- reads the index backwards only if the whole of it is named in the order.
SELECT wanted.place - 1, (
  SELECT event.version FROM event WHERE event.domain = wanted.domain AND event.pid = wanted.pid
  ORDER BY event.domain DESC, event.pid DESC, event.version DESC LIMIT 1
) FROM JSON_TABLE(?, '$[*]' COLUMNS (
  place FOR ORDINALITY,
  domain VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[0]',
  pid VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]'
)) AS wanted
