SELECT published FROM event WHERE position = ?
