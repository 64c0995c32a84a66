-- Who may do what, who was let in how, and how authorities are replaced (SQLite).
-- It is run in one transaction.

-- A counter for each thing that every hub keeps a copy of; whoever changes one counts up in the same
-- transaction, and hubs look at this row each second.
CREATE TABLE access_head (
  id             INTEGER NOT NULL,
  grants         INTEGER NOT NULL,
  revocations    INTEGER NOT NULL,
  trust          INTEGER NOT NULL,
  PRIMARY KEY (id)
) STRICT;
INSERT INTO access_head (id, grants, revocations, trust) VALUES (1, 1, 1, 1);

-- kind: 0 a service, 1 a role. name: null for every name of the domain.
CREATE TABLE access_grant (
  id             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  kind           INTEGER NOT NULL,
  subject        TEXT    NOT NULL,
  action         TEXT    NOT NULL,
  domain         TEXT    NOT NULL,
  name           TEXT    NULL,
  expires        INTEGER NULL,
  agent          TEXT    NOT NULL,
  created        INTEGER NOT NULL
) STRICT;
CREATE INDEX access_grant_subject ON access_grant (kind, subject, id);

CREATE TABLE role_member (
  role           TEXT    NOT NULL,
  service        TEXT    NOT NULL,
  agent          TEXT    NOT NULL,
  created        INTEGER NOT NULL,
  PRIMARY KEY (role, service)
) STRICT, WITHOUT ROWID;

-- secret: SHA-256 of it. A use is taken by compare-and-set.
CREATE TABLE enrol_token (
  id             TEXT    NOT NULL,
  service        TEXT    NOT NULL,
  secret         BLOB    NOT NULL,
  uses           INTEGER NOT NULL,
  uses_max       INTEGER NOT NULL,
  expires        INTEGER NOT NULL,
  agent          TEXT    NOT NULL,
  created        INTEGER NOT NULL,
  withdrawn      INTEGER NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX enrol_token_expires ON enrol_token (expires);

-- Whose certificates do not count any more. kind: spoke, service, issuer or fingerprint.
CREATE TABLE revocation (
  seq            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  kind           TEXT    NOT NULL,
  value          TEXT    NOT NULL,
  reason         TEXT    NOT NULL,
  agent          TEXT    NOT NULL,
  at             INTEGER NOT NULL
) STRICT;
CREATE INDEX revocation_value ON revocation (kind, value, seq);

-- reason: why it was revoked. superseded: when its holder got a newer one, which does not end this one.
ALTER TABLE certificate ADD COLUMN reason TEXT NULL;
ALTER TABLE certificate ADD COLUMN superseded INTEGER NULL;
CREATE INDEX certificate_issuer ON certificate (issuer, validity);
CREATE INDEX certificate_service ON certificate (service, id, version);

-- Replacements of authorities and leaves. open is 1 for the one under way and null for those that
-- are done, so there is at most one. step: 0 begun, 1 prepared, 2 activated, 3 retired, 4 archived.
-- trust: what access_head.trust was counted up to by the last step. times are the database's.
CREATE TABLE ca_rotation (
  id             INTEGER NOT NULL,
  open           INTEGER NULL,
  kind           TEXT    NOT NULL,
  step           INTEGER NOT NULL,
  haste          INTEGER NOT NULL,
  trust          INTEGER NOT NULL,
  agent          TEXT    NOT NULL,
  begun          INTEGER NOT NULL,
  prepared       INTEGER NULL,
  activated      INTEGER NULL,
  retired        INTEGER NULL,
  archived       INTEGER NULL,
  PRIMARY KEY (id)
) STRICT;
CREATE UNIQUE INDEX ca_rotation_open ON ca_rotation (open);

-- trust_loaded: the version of what is trusted that the hub works with; trust_kept: the newest one
-- that it and all spokes connected to it have kept.
ALTER TABLE hub ADD COLUMN trust_loaded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hub ADD COLUMN trust_kept INTEGER NOT NULL DEFAULT 0;

-- A keyring that is neither active nor retired still opens: hubs that have its passphrase may start.
ALTER TABLE keyring ADD COLUMN retired INTEGER NULL;

-- act: what was done, for lines that say who did something to whom; null for all other lines.
ALTER TABLE log ADD COLUMN act TEXT NULL;
ALTER TABLE log ADD COLUMN subject TEXT NULL;
ALTER TABLE log_archive ADD COLUMN act TEXT NULL;
ALTER TABLE log_archive ADD COLUMN subject TEXT NULL;
CREATE INDEX log_act ON log (act, id);

-- What roots are known by whose keys are elsewhere: the fingerprint, sealed.
CREATE TABLE authority_mark (
  id             TEXT    NOT NULL,
  dek_id         TEXT    NOT NULL,
  nonce          BLOB    NOT NULL,
  sealed         BLOB    NOT NULL,
  created        INTEGER NOT NULL,
  PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;

-- When the last act on parked events of a group was: each has a time of its own.
CREATE INDEX event_unparked_at ON event_unparked (group_id, at);
