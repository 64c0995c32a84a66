-- The log, what became of its events, and who takes part (SQLite).
-- It is run in one transaction.
-- Times are milliseconds since 1970, UTC. Names are compared byte by byte.

CREATE TABLE log_head (
  id             INTEGER NOT NULL,
  position       INTEGER NOT NULL,
  incarnation    INTEGER NOT NULL,
  updated        INTEGER NOT NULL,
  PRIMARY KEY (id)
) STRICT;

-- Every further index here costs throughput for the life of the log.
CREATE TABLE event (
  position       INTEGER NOT NULL,
  id             TEXT    NOT NULL,
  timestamp      INTEGER NOT NULL,
  domain         TEXT    NOT NULL,
  pid            TEXT    NOT NULL,
  version        INTEGER NOT NULL,
  name           TEXT    NOT NULL,
  rid            TEXT    NULL,
  publisher      TEXT    NULL,
  published      INTEGER NULL,
  digest         BLOB    NOT NULL,
  metadata       TEXT    NULL,
  data           TEXT    NULL,
  links          INTEGER NOT NULL,
  deleted        INTEGER NULL,
  PRIMARY KEY (position)
) STRICT;
CREATE UNIQUE INDEX event_id ON event (id);
CREATE UNIQUE INDEX event_eventlog ON event (domain, pid, version);

CREATE TABLE event_eid (
  position       INTEGER NOT NULL,
  eid            TEXT    NOT NULL,
  PRIMARY KEY (position, eid)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_eid_eid ON event_eid (eid, position);

CREATE TABLE event_cpid (
  position       INTEGER NOT NULL,
  domain         TEXT    NOT NULL,
  pid            TEXT    NOT NULL,
  PRIMARY KEY (position, domain, pid)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_cpid_eventlog ON event_cpid (domain, pid, position);

-- Settlements: one row for a run of events of one slot with the same outcome. Group 0 holds orphans.
CREATE TABLE event_published (
  group_id       INTEGER NOT NULL,
  first_position INTEGER NOT NULL,
  last_position  INTEGER NOT NULL,
  slot           INTEGER NOT NULL,
  events         INTEGER NOT NULL,
  hub            TEXT    NOT NULL,
  consumer       TEXT    NOT NULL,
  attempts       INTEGER NOT NULL,
  consumed_hub   INTEGER NOT NULL,
  consumed_spoke INTEGER NOT NULL,
  success        INTEGER NULL,
  failed         INTEGER NULL,
  orphan         INTEGER NULL,
  parked         INTEGER NULL,
  reason         TEXT    NULL,
  PRIMARY KEY (group_id, first_position)
) STRICT, WITHOUT ROWID;

-- names: a JSON array, or null for every name of the domain.
CREATE TABLE consumer_group (
  id             INTEGER NOT NULL,
  name           TEXT    NOT NULL,
  domain         TEXT    NOT NULL,
  names          TEXT    NULL,
  ordered        INTEGER NOT NULL,
  start_after    INTEGER NOT NULL,
  created        INTEGER NOT NULL,
  PRIMARY KEY (id)
) STRICT;
CREATE UNIQUE INDEX consumer_group_name ON consumer_group (name, domain);

-- hub and epoch are the fence: who writes settlements of a slot names both.
CREATE TABLE consumer_slot (
  group_id       INTEGER NOT NULL,
  slot           INTEGER NOT NULL,
  hub            TEXT    NULL,
  epoch          INTEGER NOT NULL,
  settled_through INTEGER NOT NULL,
  succeeded      INTEGER NOT NULL,
  parked         INTEGER NOT NULL,
  discarded      INTEGER NOT NULL,
  PRIMARY KEY (group_id, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE event_retry (
  group_id       INTEGER NOT NULL,
  position       INTEGER NOT NULL,
  attempts       INTEGER NOT NULL,
  retry_at       INTEGER NOT NULL,
  reason         TEXT    NOT NULL,
  consumer       TEXT    NOT NULL,
  PRIMARY KEY (group_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_retry_position ON event_retry (position);

CREATE TABLE event_parked (
  group_id       INTEGER NOT NULL,
  position       INTEGER NOT NULL,
  attempts       INTEGER NOT NULL,
  reason         TEXT    NOT NULL,
  consumer       TEXT    NOT NULL,
  parked         INTEGER NOT NULL,
  PRIMARY KEY (group_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_parked_position ON event_parked (position);

-- lease_until is in the database's own time.
CREATE TABLE hub (
  id             TEXT    NOT NULL,
  timestamp      INTEGER NOT NULL,
  internal_ip    TEXT    NOT NULL,
  internal_port  INTEGER NOT NULL,
  external_ip    TEXT    NOT NULL,
  external_port  INTEGER NOT NULL,
  epoch          INTEGER NOT NULL,
  lease_until    INTEGER NOT NULL,
  software       TEXT    NOT NULL,
  quit           INTEGER NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;

-- Version 0 is the active one of an id; revoked ones count from 1.
CREATE TABLE certificate (
  version        INTEGER NOT NULL,
  id             TEXT    NOT NULL,
  role           TEXT    NOT NULL,
  service        TEXT    NOT NULL,
  fingerprint    BLOB    NOT NULL,
  cert           BLOB    NOT NULL,
  dek_id         TEXT    NULL,
  key_nonce      BLOB    NULL,
  sealed_key     BLOB    NULL,
  issuer         TEXT    NOT NULL,
  validity_from  INTEGER NOT NULL,
  validity       INTEGER NOT NULL,
  created        INTEGER NOT NULL,
  updated        INTEGER NOT NULL,
  revoked        INTEGER NULL,
  PRIMARY KEY (version, id)
) STRICT;
CREATE UNIQUE INDEX certificate_fingerprint ON certificate (fingerprint);
CREATE INDEX certificate_id ON certificate (id, version);

-- active is 1 for the keyring in use and null for all others, so there is at most one.
CREATE TABLE keyring (
  kek_id         TEXT    NOT NULL,
  active         INTEGER NULL,
  kdf            TEXT    NOT NULL,
  memory_kib     INTEGER NOT NULL,
  passes         INTEGER NOT NULL,
  lanes          INTEGER NOT NULL,
  salt           BLOB    NOT NULL,
  dek_id         TEXT    NOT NULL,
  wrapped        BLOB    NOT NULL,
  nonce          BLOB    NOT NULL,
  created        INTEGER NOT NULL,
  PRIMARY KEY (kek_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX keyring_active ON keyring (active);

-- Never an id twice: archived entries keep theirs.
CREATE TABLE log (
  id             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  timestamp      INTEGER NOT NULL,
  agent          TEXT    NOT NULL,
  message        TEXT    NOT NULL,
  error          TEXT    NULL
) STRICT;
CREATE INDEX log_timestamp ON log (timestamp);

CREATE TABLE log_archive (
  id             INTEGER NOT NULL,
  timestamp      INTEGER NOT NULL,
  agent          TEXT    NOT NULL,
  message        TEXT    NOT NULL,
  error          TEXT    NULL,
  PRIMARY KEY (id)
) STRICT;
CREATE INDEX log_archive_timestamp ON log_archive (timestamp);
