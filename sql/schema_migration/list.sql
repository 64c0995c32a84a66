SELECT version, hash FROM schema_migration ORDER BY version LIMIT 10000
