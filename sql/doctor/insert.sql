INSERT INTO eventflow_doctor (id, value, name) VALUES (?, ?, ?)
