UPDATE hub
SET trust_loaded = ?, trust_kept = ?
WHERE id = ?
