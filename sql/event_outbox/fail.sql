UPDATE event_outbox SET failed = ?, reason = ? WHERE failed IS NULL AND seq = ?
