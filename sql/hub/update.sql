UPDATE hub
SET timestamp = ?, internal_ip = ?, internal_port = ?, external_ip = ?, external_port = ?,
    epoch = epoch + 1, lease_until = ?, software = ?, quit = NULL
WHERE id = ?
