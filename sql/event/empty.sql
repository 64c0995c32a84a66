UPDATE event SET
  name = '', rid = NULL, publisher = NULL, published = NULL,
  digest = X'00000000000000000000000000000000', metadata = NULL, data = NULL, links = 0, deleted = ?
WHERE deleted IS NULL AND position IN (
-- each row, joined by ,
  ?
-- end
)
