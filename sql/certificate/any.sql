-- Active and revoked ones: whether there has ever been a certificate.
SELECT id
FROM certificate
ORDER BY id
LIMIT 1
