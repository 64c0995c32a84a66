INSERT INTO schema_migration (version, name, hash, applied) VALUES (?, ?, ?, ?)
