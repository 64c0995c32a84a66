INSERT INTO log (timestamp, agent, message, error, act, subject)
VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), ?, ?, NULL, ?, ?)
