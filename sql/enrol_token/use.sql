-- One use of what is left. No row: all are taken, it has ended, or it was withdrawn.
UPDATE enrol_token
SET uses = uses + 1
WHERE id = ? AND uses < uses_max AND expires > ? AND withdrawn IS NULL
