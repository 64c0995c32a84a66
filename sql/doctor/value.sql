SELECT value FROM eventflow_doctor WHERE id = ?
