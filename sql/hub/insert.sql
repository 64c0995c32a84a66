INSERT INTO hub (timestamp, internal_ip, internal_port, external_ip, external_port,
                 epoch, lease_until, software, quit, id)
VALUES (?, ?, ?, ?, ?, 1, ?, ?, NULL, ?)
