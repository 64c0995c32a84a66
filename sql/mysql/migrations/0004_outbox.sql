-- Events that services which share this database hand over in their own transactions (MySQL 8.0.16+,
-- MariaDB 10.6+). DDL commits by itself here, so every statement can be run again after a crash in between.

-- The hub appends each row to the log and deletes it in one transaction; a row that cannot be
-- appended stays, with the time and the reason in failed and reason. Services only insert.
-- Names may be longer than the log allows: a session without strict mode cuts what does not fit, and
-- a name that was cut must still be too long to be taken for another one.
CREATE TABLE IF NOT EXISTS event_outbox (
  seq       BIGINT       NOT NULL AUTO_INCREMENT,
  id        VARCHAR(255) NOT NULL,
  publisher VARCHAR(255) NOT NULL,
  domain    VARCHAR(255) NOT NULL,
  pid       VARCHAR(255) NOT NULL,
  name      VARCHAR(255) NOT NULL,
  data      MEDIUMTEXT   NULL,
  rid       VARCHAR(255) NULL,
  timestamp BIGINT       NULL,
  metadata  MEDIUMTEXT   NULL,
  eids      MEDIUMTEXT   NULL,
  cpids     MEDIUMTEXT   NULL,
  created   BIGINT       NOT NULL DEFAULT (CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)),
  failed    BIGINT       NULL,
  reason    VARCHAR(512) NULL,
  PRIMARY KEY (seq),
  KEY event_outbox_failed (failed, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
