SELECT position, incarnation, retired FROM projection_checkpoint WHERE name = ? AND generation = ?
