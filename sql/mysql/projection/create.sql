-- What a caller's own database keeps of its projections (MySQL 8.0.16+, MariaDB 10.6+). It may be run again.
CREATE TABLE IF NOT EXISTS projection (
  name    VARCHAR(128) NOT NULL,
  serving INT          NOT NULL,
  newest  INT          NOT NULL,
  PRIMARY KEY (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS projection_checkpoint (
  name        VARCHAR(128) NOT NULL,
  generation  INT          NOT NULL,
  position    BIGINT       NOT NULL,
  incarnation BIGINT       NOT NULL,
  retired     TINYINT      NOT NULL,
  updated     BIGINT       NOT NULL,
  PRIMARY KEY (name, generation)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS projection_skipped (
  name       VARCHAR(128) NOT NULL,
  generation INT          NOT NULL,
  position   BIGINT       NOT NULL,
  event_id   VARCHAR(64)  NOT NULL,
  skipped    BIGINT       NOT NULL,
  PRIMARY KEY (name, generation, position)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
