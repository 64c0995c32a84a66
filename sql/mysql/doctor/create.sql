CREATE TABLE eventflow_doctor (
  id    BIGINT       NOT NULL,
  value BIGINT       NOT NULL,
  name  VARCHAR(128) NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY eventflow_doctor_name (name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
