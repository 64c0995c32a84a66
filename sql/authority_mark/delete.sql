-- A root that was replaced is not known any more, whatever becomes of its row.
DELETE FROM authority_mark
WHERE id = ?
