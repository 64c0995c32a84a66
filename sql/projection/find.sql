SELECT serving, newest FROM projection WHERE name = ?
