-- Everything mintmark keeps. Instants are Unix seconds; expiry is exclusive. Config things are JSON documents with key columns.
-- "C": names are sorted by their bytes, whatever the database was created with, and compared faster.

CREATE TABLE clients (client_id TEXT COLLATE "C" NOT NULL PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE resources (resource TEXT COLLATE "C" NOT NULL PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE roles (name TEXT COLLATE "C" NOT NULL PRIMARY KEY, document TEXT NOT NULL);

-- email_key: the email as it is compared, without case.
CREATE TABLE users (
  subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  email_key TEXT COLLATE "C" NOT NULL UNIQUE,
  document TEXT NOT NULL
);

-- There may be millions, hence the order of the columns (those of 8 bytes first: nothing is lost to alignment), and as
-- few and as narrow indexes as the statements need.
-- sweep_at: never later than the instant from which nothing needs the row; the sweep moves it on when it finds the
-- row still needed. So taking a step changes no indexed column, and with room for one more row in each page the new
-- version of the row stays in its page (HOT): no index is touched.
-- No index by sid: whoever ends a session knows its subject. None by client_id alone: an operator's rare act.
CREATE TABLE grants (
  created_at BIGINT NOT NULL,
  advanced_at BIGINT NOT NULL,
  idle_expires_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  access_expires_at BIGINT NOT NULL,
  sweep_at BIGINT NOT NULL,
  generation BIGINT NOT NULL,
  ended_at BIGINT,
  replays INTEGER NOT NULL,
  id BYTEA NOT NULL PRIMARY KEY,
  salt BYTEA NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  sid TEXT COLLATE "C",
  "authorization" TEXT NOT NULL,
  binding TEXT,
  end_reason TEXT
) WITH (fillfactor = 97);
-- Subjects are random: seven letters at their end find nearly nobody else, in less than half the space of all.
CREATE INDEX grants_by_subject ON grants (right(subject, 7));
CREATE INDEX grants_by_sweep ON grants (sweep_at);

CREATE TABLE sessions (
  digest BYTEA NOT NULL PRIMARY KEY,
  sid TEXT COLLATE "C" NOT NULL UNIQUE,
  subject TEXT COLLATE "C" NOT NULL,
  auth_time BIGINT NOT NULL,
  acr TEXT NOT NULL,
  amr TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  idle_expires_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_subject ON sessions (subject);
CREATE INDEX sessions_by_idle ON sessions (idle_expires_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE consents (
  subject TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  scope TEXT NOT NULL,
  resources TEXT NOT NULL,
  claims TEXT NOT NULL,
  granted_at BIGINT NOT NULL,
  PRIMARY KEY (subject, client_id)
);

CREATE TABLE signing_keys (
  kid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  alg TEXT NOT NULL,
  public_jwk TEXT NOT NULL,
  wrapped BYTEA NOT NULL,
  published_at BIGINT NOT NULL,
  active_at BIGINT NOT NULL,
  retired_at BIGINT,
  removed_at BIGINT,
  compromised SMALLINT NOT NULL
);

CREATE TABLE server_secrets (version INTEGER NOT NULL PRIMARY KEY, wrapped BYTEA NOT NULL, created_at BIGINT NOT NULL);

-- Each counter is a lock as well: whoever raises it holds it until the end of the transaction, so transactions that
-- raise the same one commit in the order of the values they got.
CREATE TABLE counters (name TEXT COLLATE "C" NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counters (name, value) VALUES ('keys', 0), ('revocations', 0);

-- "cursor": from the counter `revocations`, never from a sequence: of two numbers of a sequence the later may be
-- committed first, and who reads then skips the other.
CREATE TABLE revocations (
  "cursor" BIGINT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  before BIGINT,
  expires_at BIGINT NOT NULL
);
CREATE INDEX revocations_by_expiry ON revocations (expires_at);

CREATE TABLE audit_events (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at BIGINT NOT NULL,
  event TEXT NOT NULL,
  client_id TEXT COLLATE "C",
  subject TEXT COLLATE "C",
  gid TEXT COLLATE "C",
  detail TEXT NOT NULL
);
CREATE INDEX audit_events_by_subject ON audit_events (subject) WHERE subject IS NOT NULL;
CREATE INDEX audit_events_by_gid ON audit_events (gid) WHERE gid IS NOT NULL;

-- Who does the work that must be done once. fence: one more with each holder. beat: one more with each renewal.
CREATE TABLE leases (
  name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  fence BIGINT NOT NULL,
  beat BIGINT NOT NULL
);
