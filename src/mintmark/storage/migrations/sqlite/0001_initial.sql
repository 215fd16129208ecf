-- Everything mintmark keeps. Instants are Unix seconds; expiry is exclusive. Config things are JSON documents with key columns.

CREATE TABLE clients (client_id TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE resources (resource TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE roles (name TEXT NOT NULL PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;

-- email_key: the email as it is compared, without case.
CREATE TABLE users (
  subject TEXT NOT NULL PRIMARY KEY,
  email_key TEXT NOT NULL UNIQUE,
  document TEXT NOT NULL
) WITHOUT ROWID;

-- With rowids: rows are appended to full pages, and the indexes carry 4 bytes instead of the 16 of the id.
-- sweep_at: never later than the instant from which nothing needs the row; the sweep moves it on when it finds the
-- row still needed. So taking a step touches no index.
-- No index by client_id: with a subject it is not needed, and without one it is an operator's rare act, for which the
-- whole table is read (0.2 s a million rows); it would cost each grant a tenth of its size.
CREATE TABLE grants (
  id BLOB NOT NULL PRIMARY KEY,
  client_id TEXT NOT NULL,
  subject TEXT NOT NULL,
  sid TEXT,
  salt BLOB NOT NULL,
  generation INTEGER NOT NULL,
  "authorization" TEXT NOT NULL,
  binding TEXT,
  created_at INTEGER NOT NULL,
  advanced_at INTEGER NOT NULL,
  idle_expires_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  access_expires_at INTEGER NOT NULL,
  replays INTEGER NOT NULL,
  ended_at INTEGER,
  end_reason TEXT,
  sweep_at INTEGER NOT NULL
);
CREATE INDEX grants_by_subject ON grants (subject);
CREATE INDEX grants_by_sid ON grants (sid) WHERE sid IS NOT NULL;
CREATE INDEX grants_by_sweep ON grants (sweep_at);

CREATE TABLE sessions (
  digest BLOB NOT NULL PRIMARY KEY,
  sid TEXT NOT NULL UNIQUE,
  subject TEXT NOT NULL,
  auth_time INTEGER NOT NULL,
  acr TEXT NOT NULL,
  amr TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  idle_expires_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_by_subject ON sessions (subject);
CREATE INDEX sessions_by_idle ON sessions (idle_expires_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE consents (
  subject TEXT NOT NULL,
  client_id TEXT NOT NULL,
  scope TEXT NOT NULL,
  resources TEXT NOT NULL,
  claims TEXT NOT NULL,
  granted_at INTEGER NOT NULL,
  PRIMARY KEY (subject, client_id)
) WITHOUT ROWID;

CREATE TABLE signing_keys (
  kid TEXT NOT NULL PRIMARY KEY,
  alg TEXT NOT NULL,
  public_jwk TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  published_at INTEGER NOT NULL,
  active_at INTEGER NOT NULL,
  retired_at INTEGER,
  removed_at INTEGER,
  compromised INTEGER NOT NULL
);

CREATE TABLE server_secrets (version INTEGER NOT NULL PRIMARY KEY, wrapped BLOB NOT NULL, created_at INTEGER NOT NULL);

-- "cursor" is a word of SQL in PostgreSQL, hence quoted. AUTOINCREMENT: a number is never given twice, even after a sweep.
CREATE TABLE revocations (
  "cursor" INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  before INTEGER,
  expires_at INTEGER NOT NULL
);
CREATE INDEX revocations_by_expiry ON revocations (expires_at);

CREATE TABLE audit_events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  event TEXT NOT NULL,
  client_id TEXT,
  subject TEXT,
  gid TEXT,
  detail TEXT NOT NULL
);
CREATE INDEX audit_events_by_subject ON audit_events (subject) WHERE subject IS NOT NULL;
CREATE INDEX audit_events_by_gid ON audit_events (gid) WHERE gid IS NOT NULL;
