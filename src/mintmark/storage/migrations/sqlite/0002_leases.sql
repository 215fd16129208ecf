-- works with: 1
-- Who does the work that must be done once. fence: one more with each holder. beat: one more with each renewal.

CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  fence INTEGER NOT NULL,
  beat INTEGER NOT NULL
) WITHOUT ROWID;
