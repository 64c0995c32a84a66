INSERT INTO event (
  position, id, timestamp, domain, pid, version, name, rid, publisher, published, digest, metadata, data, links
) VALUES
-- each row, joined by ,
  (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
-- end
