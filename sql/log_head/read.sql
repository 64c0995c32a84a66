SELECT position, incarnation FROM log_head WHERE id = 1
