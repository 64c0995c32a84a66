CREATE TABLE eventflow_doctor (
  id    INTEGER NOT NULL,
  value INTEGER NOT NULL,
  name  TEXT    NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (name)
) STRICT
