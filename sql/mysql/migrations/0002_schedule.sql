-- Events that are appended when they are due (MySQL 8.0.16+, MariaDB 10.6+).
-- DDL commits by itself here, so every statement can be run again after a crash in between.

-- active_key and pending repeat schedule_key and due while the event has not been appended, and are
-- null afterwards: so a key has one pending schedule at most, and what is due is found among the
-- pending ones only.
CREATE TABLE IF NOT EXISTS event_scheduled (
  id           VARCHAR(64)  NOT NULL,
  schedule_key VARCHAR(128) NULL,
  active_key   VARCHAR(128) NULL,
  due          BIGINT       NOT NULL,
  pending      BIGINT       NULL,
  slot         SMALLINT     NOT NULL,
  domain       VARCHAR(128) NOT NULL,
  pid          VARCHAR(128) NOT NULL,
  name         VARCHAR(128) NOT NULL,
  rid          VARCHAR(64)  NULL,
  publisher    VARCHAR(128) NOT NULL,
  timestamp    BIGINT       NULL,
  metadata     TEXT         NULL,
  data         MEDIUMTEXT   NOT NULL,
  eids         MEDIUMTEXT   NULL,
  cpids        MEDIUMTEXT   NULL,
  digest       BINARY(16)   NOT NULL,
  created      BIGINT       NOT NULL,
  executed     BIGINT       NULL,
  success      BIGINT       NULL,
  failed       BIGINT       NULL,
  cancelled    BIGINT       NULL,
  position     BIGINT       NULL,
  reason       VARCHAR(512) NULL,
  PRIMARY KEY (id),
  UNIQUE KEY event_scheduled_active (active_key),
  KEY event_scheduled_pending (pending, id),
  KEY event_scheduled_due (due, id),
  KEY event_scheduled_key (schedule_key, created)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
