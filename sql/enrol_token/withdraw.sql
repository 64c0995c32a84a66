-- No row: there is no such token, or it was withdrawn before.
UPDATE enrol_token
SET withdrawn = ?
WHERE id = ? AND withdrawn IS NULL
