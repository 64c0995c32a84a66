INSERT INTO projection (name, serving, newest) VALUES (?, ?, ?)
