-- Only if there is none yet, so that what is set stays.
INSERT INTO group_settings (group_id)
SELECT g.id
FROM consumer_group g
WHERE g.id = ? AND NOT EXISTS (SELECT 1 FROM group_settings s WHERE s.group_id = g.id)
