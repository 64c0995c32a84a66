-- What is not needed to open a database, but to trust it. Unknown ones are not answered.
SHOW GLOBAL VARIABLES WHERE Variable_name IN (
  'innodb_doublewrite', 'innodb_flush_method', 'innodb_force_recovery', 'read_only', 'super_read_only', 'wsrep_on'
)
