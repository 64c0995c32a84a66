-- What is null stays as it is.
UPDATE group_settings SET
  attempts_max = COALESCE(?, attempts_max),
  backoff_first_ms = COALESCE(?, backoff_first_ms),
  backoff_max_ms = COALESCE(?, backoff_max_ms),
  deadline_ms = COALESCE(?, deadline_ms),
  credit_max = COALESCE(?, credit_max),
  ordered = COALESCE(?, ordered),
  park = COALESCE(?, park)
WHERE group_id = ?
