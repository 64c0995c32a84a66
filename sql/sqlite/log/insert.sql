INSERT INTO log (timestamp, agent, message, error)
VALUES (CAST(unixepoch('subsec') * 1000 AS INTEGER), ?, ?, ?)
