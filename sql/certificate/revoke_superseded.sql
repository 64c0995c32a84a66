UPDATE certificate
SET revoked = ?, reason = 'superseded', updated = ?
WHERE id = ? AND version > 0 AND superseded IS NOT NULL AND revoked IS NULL
