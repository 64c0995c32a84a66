SHOW GLOBAL VARIABLES WHERE Variable_name IN (
  'version', 'version_comment', 'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'log_bin',
  'sync_binlog', 'binlog_format', 'max_allowed_packet', 'innodb_buffer_pool_size'
)
