SELECT domain, pid FROM event WHERE (domain, pid, version) IN (
-- each row, joined by ,
  (?, ?, 1)
-- end
)
