-- Of spokes only: hubs do not look their own and authorities up.
SELECT fingerprint, id
FROM certificate
WHERE fingerprint = ? AND revoked IS NULL AND validity > ? AND role = 'spoke'
