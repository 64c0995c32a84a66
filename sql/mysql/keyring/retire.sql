-- The wrapped key goes with it, so a former passphrase opens nothing in this table any more.
UPDATE keyring
SET retired = ?, wrapped = '', nonce = ''
WHERE kek_id = ? AND active IS NULL AND retired IS NULL
