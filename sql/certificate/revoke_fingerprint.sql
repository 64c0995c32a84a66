-- One that is active moves aside and frees its id; a superseded one stays where it is.
UPDATE certificate
SET version = CASE version WHEN 0 THEN (SELECT top.version FROM (
      SELECT MAX(c.version) + 1 AS version FROM certificate c WHERE c.id = ?
    ) top) ELSE version END,
    revoked = ?, reason = ?, updated = ?
WHERE fingerprint = ? AND revoked IS NULL
