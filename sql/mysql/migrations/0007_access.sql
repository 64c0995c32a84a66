-- Who may do what, who was let in how, and how authorities are replaced (MySQL 8.0.16+, MariaDB 10.6+).
-- DDL commits by itself here, so every statement can be run again after a crash in between: a column is
-- added only where it is missing.

-- A counter for each thing that every hub keeps a copy of; whoever changes one counts up in the same
-- transaction, and hubs look at this row each second.
CREATE TABLE IF NOT EXISTS access_head (
  id          BIGINT NOT NULL,
  grants      BIGINT NOT NULL,
  revocations BIGINT NOT NULL,
  trust       BIGINT NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO access_head (id, grants, revocations, trust) VALUES (1, 1, 1, 1);

-- kind: 0 a service, 1 a role. name: null for every name of the domain.
CREATE TABLE IF NOT EXISTS access_grant (
  id      BIGINT       NOT NULL AUTO_INCREMENT,
  kind    TINYINT      NOT NULL,
  subject VARCHAR(128) NOT NULL,
  action  VARCHAR(16)  NOT NULL,
  domain  VARCHAR(129) NOT NULL,
  name    VARCHAR(129) NULL,
  expires BIGINT       NULL,
  agent   VARCHAR(255) NOT NULL,
  created BIGINT       NOT NULL,
  PRIMARY KEY (id),
  KEY access_grant_subject (kind, subject, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS role_member (
  role    VARCHAR(128) NOT NULL,
  service VARCHAR(128) NOT NULL,
  agent   VARCHAR(255) NOT NULL,
  created BIGINT       NOT NULL,
  PRIMARY KEY (role, service)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- secret: SHA-256 of it. A use is taken by compare-and-set.
CREATE TABLE IF NOT EXISTS enrol_token (
  id        VARCHAR(64)   NOT NULL,
  service   VARCHAR(128)  NOT NULL,
  secret    VARBINARY(32) NOT NULL,
  uses      BIGINT        NOT NULL,
  uses_max  BIGINT        NOT NULL,
  expires   BIGINT        NOT NULL,
  agent     VARCHAR(255)  NOT NULL,
  created   BIGINT        NOT NULL,
  withdrawn BIGINT        NULL,
  PRIMARY KEY (id),
  KEY enrol_token_expires (expires)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Whose certificates do not count any more. kind: spoke, service, issuer or fingerprint.
CREATE TABLE IF NOT EXISTS revocation (
  seq    BIGINT       NOT NULL AUTO_INCREMENT,
  kind   VARCHAR(16)  NOT NULL,
  value  VARCHAR(255) NOT NULL,
  reason VARCHAR(512) NOT NULL,
  agent  VARCHAR(255) NOT NULL,
  at     BIGINT       NOT NULL,
  PRIMARY KEY (seq),
  KEY revocation_value (kind, value, seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- certificate.reason: why it was revoked. superseded: when its holder got a newer one, which does not
-- end this one.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'certificate' AND column_name = 'superseded');
SET @change = IF(@missing, 'ALTER TABLE certificate
  ADD COLUMN reason VARCHAR(512) NULL,
  ADD COLUMN superseded BIGINT NULL,
  ADD KEY certificate_issuer (issuer, validity),
  ADD KEY certificate_service (service, id, version)', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;

-- Replacements of authorities and leaves. open is 1 for the one under way and null for those that
-- are done, so there is at most one. step: 0 begun, 1 prepared, 2 activated, 3 retired, 4 archived.
-- trust: what access_head.trust was counted up to by the last step. times are the database's.
CREATE TABLE IF NOT EXISTS ca_rotation (
  id        BIGINT       NOT NULL,
  open      TINYINT      NULL,
  kind      VARCHAR(16)  NOT NULL,
  step      TINYINT      NOT NULL,
  haste     TINYINT      NOT NULL,
  trust     BIGINT       NOT NULL,
  agent     VARCHAR(255) NOT NULL,
  begun     BIGINT       NOT NULL,
  prepared  BIGINT       NULL,
  activated BIGINT       NULL,
  retired   BIGINT       NULL,
  archived  BIGINT       NULL,
  PRIMARY KEY (id),
  UNIQUE KEY ca_rotation_open (open)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- hub.trust_loaded: the version of what is trusted that the hub works with; trust_kept: the newest one
-- that it and all spokes connected to it have kept.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'hub' AND column_name = 'trust_kept');
SET @change = IF(@missing, 'ALTER TABLE hub
  ADD COLUMN trust_loaded BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN trust_kept BIGINT NOT NULL DEFAULT 0', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;

-- A keyring that is neither active nor retired still opens: hubs that have its passphrase may start.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'keyring' AND column_name = 'retired');
SET @change = IF(@missing, 'ALTER TABLE keyring
  ADD COLUMN retired BIGINT NULL', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;

-- log.act: what was done, for lines that say who did something to whom; null for all other lines.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'log' AND column_name = 'act');
SET @change = IF(@missing, 'ALTER TABLE log
  ADD COLUMN act VARCHAR(64) NULL,
  ADD COLUMN subject VARCHAR(255) NULL,
  ADD KEY log_act (act, id)', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.columns
  WHERE table_schema = DATABASE() AND table_name = 'log_archive' AND column_name = 'act');
SET @change = IF(@missing, 'ALTER TABLE log_archive
  ADD COLUMN act VARCHAR(64) NULL,
  ADD COLUMN subject VARCHAR(255) NULL', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;

-- What roots are known by whose keys are elsewhere: the fingerprint, sealed.
CREATE TABLE IF NOT EXISTS authority_mark (
  id      VARCHAR(255)   NOT NULL,
  dek_id  VARCHAR(64)    NOT NULL,
  nonce   VARBINARY(12)  NOT NULL,
  sealed  VARBINARY(255) NOT NULL,
  created BIGINT         NOT NULL,
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- When the last act on parked events of a group was: each has a time of its own.
SET @missing = (SELECT COUNT(*) = 0 FROM information_schema.statistics
  WHERE table_schema = DATABASE() AND table_name = 'event_unparked' AND index_name = 'event_unparked_at');
SET @change = IF(@missing, 'ALTER TABLE event_unparked
  ADD KEY event_unparked_at (group_id, at)', 'DO 0');
PREPARE change_table FROM @change;
EXECUTE change_table;
DEALLOCATE PREPARE change_table;
