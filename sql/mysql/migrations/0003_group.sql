-- What people decide about consumer groups (MySQL 8.0.16+, MariaDB 10.6+).
-- DDL commits by itself here, so every statement can be run again after a crash in between.

-- Null is the hub's default; ordered: null is what the group was made with.
CREATE TABLE IF NOT EXISTS group_settings (
  group_id         BIGINT      NOT NULL,
  attempts_max     BIGINT      NULL,
  backoff_first_ms BIGINT      NULL,
  backoff_max_ms   BIGINT      NULL,
  deadline_ms      BIGINT      NULL,
  credit_max       BIGINT      NULL,
  ordered          TINYINT     NULL,
  park             VARCHAR(16) NULL,
  PRIMARY KEY (group_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A pid of '' is the whole group.
CREATE TABLE IF NOT EXISTS group_pause (
  group_id BIGINT       NOT NULL,
  pid      VARCHAR(128) NOT NULL,
  since    BIGINT       NOT NULL,
  agent    VARCHAR(255) NOT NULL,
  PRIMARY KEY (group_id, pid)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Rows stay for ever, so that no group gets the number of one that was. swept: when nothing of it
-- was left.
CREATE TABLE IF NOT EXISTS group_removed (
  group_id BIGINT       NOT NULL,
  name     VARCHAR(128) NOT NULL,
  domain   VARCHAR(128) NOT NULL,
  removed  BIGINT       NOT NULL,
  agent    VARCHAR(255) NOT NULL,
  swept    BIGINT       NULL,
  PRIMARY KEY (group_id),
  KEY group_removed_swept (swept, group_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
