-- Tokens that ended long ago. The audit keeps who made and used them.
DELETE FROM enrol_token
WHERE expires < ?
