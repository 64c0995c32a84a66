-- How far one stretch of the outbox goes, and the first row in it with an event's id. An index by id would
-- cost every service that hands an event over; this is asked by people.
SELECT MAX(page.seq), MIN(CASE WHEN page.id = ? THEN page.seq END)
FROM (SELECT seq, id FROM event_outbox WHERE seq > ? ORDER BY seq LIMIT 10000) page
