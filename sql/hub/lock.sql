-- Changes nothing: its row lock lets one registration at a time go on.
UPDATE log_head
SET updated = updated
WHERE id = 1
