INSERT INTO log_head (id, position, incarnation, updated) VALUES (1, 0, ?, ?)
