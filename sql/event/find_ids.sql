SELECT id, position, version, digest, deleted FROM event WHERE id IN (
-- each row, joined by ,
  ?
-- end
)
