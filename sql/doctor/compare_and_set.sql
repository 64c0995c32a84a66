UPDATE eventflow_doctor SET value = ? WHERE id = ? AND value = ?
