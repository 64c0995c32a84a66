-- How many published events of each name a stretch of the log holds, whatever the statistics say.
SELECT name, COUNT(*)
FROM event FORCE INDEX (PRIMARY)
WHERE position > ? AND position <= ? AND domain = ? AND publisher IS NOT NULL
GROUP BY name
