CREATE TABLE IF NOT EXISTS schema_migration (
  version INT          NOT NULL,
  name    VARCHAR(128) NOT NULL,
  hash    CHAR(64)     NOT NULL,
  applied BIGINT       NOT NULL,
  PRIMARY KEY (version)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
