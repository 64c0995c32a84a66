INSERT INTO log (timestamp, agent, message, error)
SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), note.agent, note.message, note.error
FROM JSON_TABLE(?, '$[*]' COLUMNS (
  place FOR ORDINALITY,
  agent VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[0]',
  message TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[1]',
  error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$[2]'
)) AS note
ORDER BY note.place
