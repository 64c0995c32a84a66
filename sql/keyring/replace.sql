UPDATE keyring
SET active = NULL
WHERE kek_id = ? AND active = 1
