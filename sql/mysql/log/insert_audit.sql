INSERT INTO log (timestamp, agent, message, error, act, subject)
VALUES (CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), ?, ?, NULL, ?, ?)
