SELECT name FROM eventflow_doctor WHERE id > ? ORDER BY name
