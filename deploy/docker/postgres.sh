#!/bin/sh
# Run once, when the database is made: a role that owns its database and may do nothing else.
set -eu

psql -v ON_ERROR_STOP=1 --username postgres --no-password --quiet <<SQL
\set password \`cat "${DATABASE_PASSWORD_FILE:-/run/secrets/database_password}"\`
CREATE ROLE mintmark LOGIN PASSWORD :'password';
CREATE DATABASE mintmark OWNER mintmark;
REVOKE CONNECT ON DATABASE mintmark FROM PUBLIC;
SQL
