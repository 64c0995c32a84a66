INSERT INTO log (timestamp, agent, message, error)
VALUES (CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), ?, ?, ?)
