SELECT COUNT(*) FROM sqlite_master WHERE name = 'eventflow_doctor'
