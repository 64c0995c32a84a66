-- each row, joined by UNION ALL
  SELECT CAST(? AS SIGNED), MAX(version) FROM event WHERE domain = ? AND pid = ?
-- end
