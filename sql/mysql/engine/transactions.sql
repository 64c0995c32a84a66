SET SESSION autocommit = 0
