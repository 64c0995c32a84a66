-- The log, what became of its events, and who takes part (MySQL 8.0.16+, MariaDB 10.6+).
-- DDL commits by itself here, so every statement can be run again after a crash in between.
-- Times are milliseconds since 1970, UTC. Names are compared byte by byte.

CREATE TABLE IF NOT EXISTS log_head (
  id          TINYINT NOT NULL,
  position    BIGINT  NOT NULL,
  incarnation BIGINT  NOT NULL,
  updated     BIGINT  NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Every further index here costs throughput for the life of the log.
CREATE TABLE IF NOT EXISTS event (
  position  BIGINT       NOT NULL,
  id        VARCHAR(64)  NOT NULL,
  timestamp BIGINT       NOT NULL,
  domain    VARCHAR(128) NOT NULL,
  pid       VARCHAR(128) NOT NULL,
  version   BIGINT       NOT NULL,
  name      VARCHAR(128) NOT NULL,
  rid       VARCHAR(64)  NULL,
  publisher VARCHAR(128) NULL,
  published BIGINT       NULL,
  digest    BINARY(16)   NOT NULL,
  metadata  TEXT         NULL,
  data      MEDIUMTEXT   NULL,
  links     TINYINT      NOT NULL,
  deleted   BIGINT       NULL,
  PRIMARY KEY (position),
  UNIQUE KEY event_id (id),
  UNIQUE KEY event_eventlog (domain, pid, version)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS event_eid (
  position BIGINT       NOT NULL,
  eid      VARCHAR(128) NOT NULL,
  PRIMARY KEY (position, eid),
  KEY event_eid_eid (eid, position)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS event_cpid (
  position BIGINT       NOT NULL,
  domain   VARCHAR(128) NOT NULL,
  pid      VARCHAR(128) NOT NULL,
  PRIMARY KEY (position, domain, pid),
  KEY event_cpid_eventlog (domain, pid, position)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Settlements: one row for a run of events of one slot with the same outcome. Group 0 holds orphans.
CREATE TABLE IF NOT EXISTS event_published (
  group_id       BIGINT       NOT NULL,
  first_position BIGINT       NOT NULL,
  last_position  BIGINT       NOT NULL,
  slot           SMALLINT     NOT NULL,
  events         INT          NOT NULL,
  hub            VARCHAR(128) NOT NULL,
  consumer       VARCHAR(255) NOT NULL,
  attempts       BIGINT       NOT NULL,
  consumed_hub   BIGINT       NOT NULL,
  consumed_spoke BIGINT       NOT NULL,
  success        BIGINT       NULL,
  failed         BIGINT       NULL,
  orphan         BIGINT       NULL,
  parked         TINYINT      NULL,
  reason         VARCHAR(512) NULL,
  PRIMARY KEY (group_id, first_position)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- names: a JSON array, or null for every name of the domain.
CREATE TABLE IF NOT EXISTS consumer_group (
  id          BIGINT       NOT NULL,
  name        VARCHAR(128) NOT NULL,
  domain      VARCHAR(128) NOT NULL,
  names       MEDIUMTEXT   NULL,
  ordered     TINYINT      NOT NULL,
  start_after BIGINT       NOT NULL,
  created     BIGINT       NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY consumer_group_name (name, domain)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- hub and epoch are the fence: who writes settlements of a slot names both.
CREATE TABLE IF NOT EXISTS consumer_slot (
  group_id        BIGINT       NOT NULL,
  slot            SMALLINT     NOT NULL,
  hub             VARCHAR(128) NULL,
  epoch           BIGINT       NOT NULL,
  settled_through BIGINT       NOT NULL,
  succeeded       BIGINT       NOT NULL,
  parked          BIGINT       NOT NULL,
  discarded       BIGINT       NOT NULL,
  PRIMARY KEY (group_id, slot)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS event_retry (
  group_id BIGINT       NOT NULL,
  position BIGINT       NOT NULL,
  attempts BIGINT       NOT NULL,
  retry_at BIGINT       NOT NULL,
  reason   VARCHAR(512) NOT NULL,
  consumer VARCHAR(255) NOT NULL,
  PRIMARY KEY (group_id, position),
  KEY event_retry_position (position)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS event_parked (
  group_id BIGINT       NOT NULL,
  position BIGINT       NOT NULL,
  attempts BIGINT       NOT NULL,
  reason   VARCHAR(512) NOT NULL,
  consumer VARCHAR(255) NOT NULL,
  parked   BIGINT       NOT NULL,
  PRIMARY KEY (group_id, position),
  KEY event_parked_position (position)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- lease_until is in the database's own time.
CREATE TABLE IF NOT EXISTS hub (
  id            VARCHAR(128) NOT NULL,
  timestamp     BIGINT       NOT NULL,
  internal_ip   VARCHAR(255) NOT NULL,
  internal_port INT          NOT NULL,
  external_ip   VARCHAR(255) NOT NULL,
  external_port INT          NOT NULL,
  epoch         BIGINT       NOT NULL,
  lease_until   BIGINT       NOT NULL,
  software      VARCHAR(128) NOT NULL,
  quit          BIGINT       NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Version 0 is the active one of an id; revoked ones count from 1.
CREATE TABLE IF NOT EXISTS certificate (
  version       INT            NOT NULL,
  id            VARCHAR(128)   NOT NULL,
  role          VARCHAR(32)    NOT NULL,
  service       VARCHAR(128)   NOT NULL,
  fingerprint   BINARY(32)     NOT NULL,
  cert          BLOB           NOT NULL,
  dek_id        VARCHAR(64)    NULL,
  key_nonce     VARBINARY(64)  NULL,
  sealed_key    BLOB           NULL,
  issuer        VARCHAR(128)   NOT NULL,
  validity_from BIGINT         NOT NULL,
  validity      BIGINT         NOT NULL,
  created       BIGINT         NOT NULL,
  updated       BIGINT         NOT NULL,
  revoked       BIGINT         NULL,
  PRIMARY KEY (version, id),
  UNIQUE KEY certificate_fingerprint (fingerprint),
  KEY certificate_id (id, version)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- active is 1 for the keyring in use and null for all others, so there is at most one.
CREATE TABLE IF NOT EXISTS keyring (
  kek_id     VARCHAR(64)    NOT NULL,
  active     TINYINT        NULL,
  kdf        VARCHAR(32)    NOT NULL,
  memory_kib BIGINT         NOT NULL,
  passes     BIGINT         NOT NULL,
  lanes      BIGINT         NOT NULL,
  salt       VARBINARY(128) NOT NULL,
  dek_id     VARCHAR(64)    NOT NULL,
  wrapped    VARBINARY(512) NOT NULL,
  nonce      VARBINARY(64)  NOT NULL,
  created    BIGINT         NOT NULL,
  PRIMARY KEY (kek_id),
  UNIQUE KEY keyring_active (active)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS log (
  id        BIGINT       NOT NULL AUTO_INCREMENT,
  timestamp BIGINT       NOT NULL,
  agent     VARCHAR(128) NOT NULL,
  message   TEXT         NOT NULL,
  error     MEDIUMTEXT   NULL,
  PRIMARY KEY (id),
  KEY log_timestamp (timestamp)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS log_archive (
  id        BIGINT       NOT NULL,
  timestamp BIGINT       NOT NULL,
  agent     VARCHAR(128) NOT NULL,
  message   TEXT         NOT NULL,
  error     MEDIUMTEXT   NULL,
  PRIMARY KEY (id),
  KEY log_archive_timestamp (timestamp)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
