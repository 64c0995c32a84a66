DELETE FROM certificate
WHERE version = 0 AND id IN ('request/hub', 'request/spoke')
