-- The row moves to the first free version above 0, so that its id is free for the one that follows it.
-- The derived table is for MySQL, which does not read the table that it updates.
UPDATE certificate
SET version = (SELECT top.version FROM (
      SELECT MAX(c.version) + 1 AS version FROM certificate c WHERE c.id = ?
    ) top),
    superseded = ?, updated = ?
WHERE version = 0 AND id = ?
