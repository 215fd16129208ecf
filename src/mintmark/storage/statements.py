"""The SQL of every store, one portable text per statement.

Parameters are numbered ``?1``, ``?2`` … as SQLite has them; ``$1``, ``$2`` … for PostgreSQL is one substitution away.
Only what SQLite 3.24 and PostgreSQL 12 both understand is used: no ``RETURNING``, the number of rows touched says it.
"""
# ruff: noqa: S608 - the texts are put together from the constants of this module, values are always parameters

from dataclasses import dataclass
from typing import Final

from mintmark.authority.ports import GrantSelector
from mintmark.oauth.revocations import KEPT_BEYOND_EXPIRY


@dataclass(frozen=True, slots=True)
class DirectoryStatements:
    """The statements of one table of JSON documents.

    Attributes:
        get: By key (1).
        all: All documents by key.
        add: Key (1), document (2), further key columns (3 …).
        replace: Key (1), document as stored (2), new document (3), further key columns (4 …).
        remove: By key (1).
    """

    get: str
    all: str
    add: str
    replace: str
    remove: str


def _directory(table: str, key: str, *further: str) -> DirectoryStatements:
    columns = ", ".join((key, "document", *further))
    values = ", ".join(f"?{number}" for number in range(1, 3 + len(further)))
    changes = ", ".join(["document = ?3", *(f"{column} = ?{number}" for number, column in enumerate(further, 4))])
    return DirectoryStatements(
        get=f"SELECT document FROM {table} WHERE {key} = ?1",
        all=f"SELECT document FROM {table} ORDER BY {key}",
        add=f"INSERT INTO {table} ({columns}) VALUES ({values})",
        replace=f"UPDATE {table} SET {changes} WHERE {key} = ?1 AND document = ?2",
        remove=f"DELETE FROM {table} WHERE {key} = ?1",
    )


CLIENTS: Final = _directory("clients", "client_id")
RESOURCES: Final = _directory("resources", "resource")
ROLES: Final = _directory("roles", "name")
USERS: Final = _directory("users", "subject", "email_key")
USER_BY_EMAIL: Final = "SELECT document FROM users WHERE email_key = ?1"

_GRANT: Final = (
    'id, client_id, subject, sid, salt, generation, "authorization", binding, created_at, advanced_at, '
    "idle_expires_at, expires_at, access_expires_at, replays, ended_at, end_reason"
)
GRANT_GET: Final = f"SELECT {_GRANT} FROM grants WHERE id = ?1"
GRANT_ADD: Final = f"""
    INSERT INTO grants ({_GRANT}, sweep_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
"""

SESSION_IS_THERE: Final = "SELECT 1 FROM sessions WHERE sid = ?1"

GRANT_ADVANCE: Final = """
    UPDATE grants SET
      generation = ?3,
      binding = CASE WHEN ?3 > generation THEN NULL ELSE binding END,
      advanced_at = CASE WHEN ?3 > generation THEN ?4 ELSE advanced_at END,
      idle_expires_at = ?5,
      access_expires_at = CASE WHEN ?6 > access_expires_at THEN ?6 ELSE access_expires_at END,
      replays = replays + ?7
    WHERE id = ?1 AND generation = ?2 AND ended_at IS NULL
"""
"""One compare-and-set: id (1), expected and new generation (2, 3), at (4), idle and access expiry (5, 6), replays (7)."""

GRANT_END: Final = """
    UPDATE grants SET
      ended_at = ?2,
      end_reason = ?3,
      sweep_at = CASE WHEN access_expires_at < sweep_at THEN access_expires_at ELSE sweep_at END
    WHERE id = ?1 AND ended_at IS NULL
"""

_GRANT_NEEDED: Final = "(access_expires_at > ?1 OR (ended_at IS NULL AND idle_expires_at > ?1 AND expires_at > ?1))"


def _grants_due(condition: str) -> str:
    """Return the condition for the grants to look at now for which ``condition`` holds.

    However many are due, no more are looked at than may go: those behind them wait for the next batch. ``condition`` is
    asked first of what the walk along the index has fetched anyway, and again of the row as it is when it is written.
    """
    return f"""
        id IN (
          SELECT id FROM (
            SELECT id, ended_at, access_expires_at, idle_expires_at, expires_at FROM grants
            WHERE sweep_at <= ?1 ORDER BY sweep_at LIMIT ?2
          ) AS due WHERE {condition}
        ) AND {condition}
    """


BY_SUBJECT: Final = "subject = {0}"


def _selection(selector: GrantSelector, first: int, by_subject: str) -> tuple[str, tuple[str | bytes, ...]]:
    """Return the condition and its parameters, numbered from ``first``; each set of members has one text."""
    members = {"id": selector.id, "subject": selector.subject, "client_id": selector.client_id, "sid": selector.sid}
    wanted = {column: value for column, value in members.items() if value is not None}
    texts = {"subject": by_subject}
    conditions = [texts.get(column, f"{column} = {{0}}") for column in wanted]
    condition = " AND ".join(text.format(f"?{number}") for number, text in enumerate(conditions, first))
    return condition, tuple(wanted.values())


def grants_live(
    selector: GrantSelector, now: int, by_subject: str = BY_SUBJECT
) -> tuple[str, tuple[str | bytes | int, ...]]:
    """Return the statement for the live grants selected, oldest first, and its parameters.

    ``by_subject`` is the condition on the subject as the index of the database wants it.
    """
    condition, parameters = _selection(selector, 2, by_subject)
    text = f"""
        SELECT {_GRANT} FROM grants
        WHERE {condition} AND ended_at IS NULL AND idle_expires_at > ?1 AND expires_at > ?1
        ORDER BY created_at, id
    """
    return text, (now, *parameters)


def grants_to_end(selector: GrantSelector, by_subject: str = BY_SUBJECT) -> tuple[str, tuple[str | bytes, ...]]:
    """Return the statement for what ending needs to know of the grants selected, and its parameters.

    Expired grants are among them: an access token of theirs may still live, and another node's clock may be behind.
    """
    condition, parameters = _selection(selector, 1, by_subject)
    text = f'SELECT id, access_expires_at, "authorization" FROM grants WHERE {condition} AND ended_at IS NULL'
    return text, parameters


_SESSION: Final = "digest, sid, subject, auth_time, acr, amr, user_agent, idle_expires_at, expires_at"
SESSION_GET: Final = f"SELECT {_SESSION} FROM sessions WHERE digest = ?1"
SESSIONS_OF: Final = f"SELECT {_SESSION} FROM sessions WHERE subject = ?1 ORDER BY auth_time DESC, sid"
SESSION_ADD: Final = f"INSERT INTO sessions ({_SESSION}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
SESSION_REMOVE: Final = "DELETE FROM sessions WHERE digest = ?1"
SESSION_TOUCH: Final = "UPDATE sessions SET idle_expires_at = ?2 WHERE digest = ?1"
SESSION_END_BY_SID: Final = "DELETE FROM sessions WHERE sid = ?1"
SESSION_END_BY_SUBJECT: Final = "DELETE FROM sessions WHERE subject = ?1"
SESSION_END_BY_BOTH: Final = "DELETE FROM sessions WHERE sid = ?1 AND subject = ?2"

_CONSENT: Final = "subject, client_id, scope, resources, claims, granted_at"
CONSENT_GET: Final = f"SELECT {_CONSENT} FROM consents WHERE subject = ?1 AND client_id = ?2"
CONSENTS_OF: Final = f"SELECT {_CONSENT} FROM consents WHERE subject = ?1 ORDER BY client_id"
CONSENT_PUT: Final = f"""
    INSERT INTO consents ({_CONSENT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (subject, client_id) DO UPDATE SET
      scope = excluded.scope, resources = excluded.resources, claims = excluded.claims, granted_at = excluded.granted_at
"""
CONSENT_REMOVE: Final = "DELETE FROM consents WHERE subject = ?1 AND client_id = ?2"

_SIGNING_KEY: Final = "kid, alg, public_jwk, wrapped, published_at, active_at, retired_at, removed_at, compromised"
SIGNING_KEYS: Final = f"SELECT {_SIGNING_KEY} FROM signing_keys ORDER BY published_at, kid"
SIGNING_KEY_PUT: Final = f"""
    INSERT INTO signing_keys ({_SIGNING_KEY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (kid) DO UPDATE SET
      alg = excluded.alg, public_jwk = excluded.public_jwk, wrapped = excluded.wrapped,
      published_at = excluded.published_at, active_at = excluded.active_at, retired_at = excluded.retired_at,
      removed_at = excluded.removed_at, compromised = excluded.compromised
"""
SIGNING_KEY_REWRAP: Final = "UPDATE signing_keys SET wrapped = ?2 WHERE kid = ?1"
SIGNING_KEYS_FORGET: Final = "DELETE FROM signing_keys WHERE removed_at <= ?1"

SERVER_SECRETS: Final = "SELECT version, wrapped, created_at FROM server_secrets ORDER BY version"
SERVER_SECRET_ADD: Final = """
    INSERT INTO server_secrets (version, wrapped, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (version) DO NOTHING
"""
SERVER_SECRET_REWRAP: Final = "UPDATE server_secrets SET wrapped = ?2 WHERE version = ?1"

CURSOR_STEP: Final = 1_048_576
"""A cursor is up to so much higher than the one before, by chance: a store that went back gives out others again."""
REVOCATIONS_AFTER: Final = """
    SELECT kind, value, before, expires_at, "cursor" FROM revocations WHERE "cursor" > ?1 ORDER BY "cursor" LIMIT ?2
"""

_AUDIT: Final = "at, event, client_id, subject, gid, detail"
AUDIT_ADD: Final = f"INSERT INTO audit_events ({_AUDIT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"


def audit_latest(limit: int, subject: str | None, gid: str | None) -> tuple[str, tuple[str | int, ...]]:
    """Return the statement for the newest events, and its parameters."""
    wanted = {column: value for column, value in (("subject", subject), ("gid", gid)) if value is not None}
    condition = " AND ".join(["seq > 0", *(f"{column} = ?{number}" for number, column in enumerate(wanted, 2))])
    text = f"SELECT {_AUDIT} FROM audit_events WHERE {condition} ORDER BY seq DESC LIMIT ?1"
    return text, (limit, *wanted.values())


SWEEPS: Final = {
    # Looked at again when they could be spent, not before.
    "grants_postponed": f"""
        UPDATE grants SET sweep_at = CASE
          WHEN access_expires_at > ?1 THEN access_expires_at
          WHEN idle_expires_at < expires_at THEN idle_expires_at
          ELSE expires_at
        END
        WHERE {_grants_due(_GRANT_NEEDED)}
    """,
    "grants_ended": f"DELETE FROM grants WHERE {_grants_due(f'NOT {_GRANT_NEEDED} AND ended_at IS NOT NULL')}",
    "grants_expired": f"DELETE FROM grants WHERE {_grants_due(f'NOT {_GRANT_NEEDED} AND ended_at IS NULL')}",
    # Two short walks, each along its index: an OR would gather all that is due before it takes the first. Asked again of
    # the row as it is when it is deleted: it may have been moved on meanwhile.
    "sessions_expired": """
        DELETE FROM sessions WHERE digest IN (
          SELECT digest FROM (
            SELECT digest FROM sessions WHERE idle_expires_at <= ?1 ORDER BY idle_expires_at LIMIT ?2
          ) AS idle
          UNION
          SELECT digest FROM (
            SELECT digest FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2
          ) AS over
          LIMIT ?2
        ) AND (idle_expires_at <= ?1 OR expires_at <= ?1)
    """,
    "revocations": f"""
        DELETE FROM revocations WHERE "cursor" IN (
          SELECT "cursor" FROM revocations WHERE expires_at <= CAST(?1 AS BIGINT) - {KEPT_BEYOND_EXPIRY}
          ORDER BY expires_at LIMIT ?2
        )
    """,
    "keys": """
        DELETE FROM signing_keys WHERE kid IN (
          SELECT kid FROM signing_keys WHERE removed_at <= ?1 ORDER BY removed_at LIMIT ?2
        )
    """,
}
"""By kind: now (1), how many at most (2). Run in this order; the number of rows touched is what ``sweep`` counts."""

LEASE_GET: Final = "SELECT name, holder, fence, beat FROM leases WHERE name = ?1"
LEASE_ADD: Final = """
    INSERT INTO leases (name, holder, fence, beat) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO NOTHING
"""
LEASE_PUT: Final = """
    UPDATE leases SET holder = ?5, fence = ?6, beat = ?7
    WHERE name = ?1 AND holder = ?2 AND fence = ?3 AND beat = ?4
"""
"""One compare-and-set: the lease as it stands (1 to 4), and its new holder, fence and beat (5, 6, 7)."""
LEASE_HOLD: Final = "UPDATE leases SET fence = fence WHERE name = ?1 AND holder = ?2 AND fence = ?3"
"""Touches one row if the lease is still held, and keeps it from being taken until the transaction is over.

It is the first statement of a transaction that writes under a lease.
"""

SCHEMA: Final = "SELECT version, coalesce(works_with, version) FROM schema_version ORDER BY version DESC LIMIT 1"
"""The newest migration applied, and the oldest schema whose code works with what it left."""
