INSERT OR FAIL INTO event (
  position, id, timestamp, domain, pid, version, name, rid, publisher, published, digest, metadata, data, links
) SELECT * FROM (VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- end
) WHERE column1 IS NOT NULL
