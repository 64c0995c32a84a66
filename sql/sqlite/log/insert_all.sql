INSERT INTO log (timestamp, agent, message, error)
SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), note.value ->> 0, note.value ->> 1, note.value ->> 2
FROM json_each(?) AS note
ORDER BY note.key
