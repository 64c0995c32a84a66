-- Up to which id the next batch goes; no row when there is nothing left to move.
SELECT MAX(batch.id) AS id
FROM (SELECT id FROM log WHERE timestamp < ? ORDER BY id LIMIT 500) batch
