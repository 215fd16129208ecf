#!/bin/sh
# Starts Valkey (or Redis) with its settings from standard input, so that the password is no argument that `ps` shows.
set -eu

exec "${VALKEY_SERVER:-valkey-server}" - <<CONF
requirepass "$(cat "${REDIS_PASSWORD_FILE:-/run/secrets/redis_password}")"
bind * -::*
port ${VALKEY_PORT:-6379}
dir /tmp
save ""
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
CONF
