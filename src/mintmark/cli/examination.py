"""What ``mintmark doctor`` looks at. Reads only: it neither upgrades a schema nor makes a key."""

import asyncio
import json
import sqlite3
import stat
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from os import W_OK, access
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

from mintmark.authority import keys as schedule
from mintmark.authority.core import Authority
from mintmark.authority.metadata import PATHS
from mintmark.authority.model import Client, User
from mintmark.authority.ports import Clock, StoreUnavailableError
from mintmark.authority.registration import client_problems
from mintmark.authority.wrapping import MasterKeyError
from mintmark.cli.client_scopes import scope_problems
from mintmark.cli.opening import MEMORY, RESTORE_DATABASE
from mintmark.cli.place import is_loopback, mismatch
from mintmark.storage.schema import migrations
from mintmark.storage.sqlite.connections import connect_reader
from mintmark.storage.sqlite.migrations import schema_of

if TYPE_CHECKING:
    from mintmark.config import Settings

_TIMEOUT: Final = 2.0
_MAX_BYTES: Final = 1 << 20
Status = Literal["ok", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it is and, if it is not well, how to mend it."""

    check: str
    status: Status
    what: str
    remedy: str = ""


def examine_database(settings: "Settings") -> list[Finding]:
    """Look at the file; the last finding is ``ok`` if the authority's part can be looked at as well."""
    if settings.database == MEMORY:
        return [Finding("database", "skipped", "in memory: only the serving process can see it")]
    path = settings.database_file
    if path is None:
        return [_server(settings)]
    if not path.exists():
        return [
            Finding("database", "problem", f"there is no database at {path}", f"{RESTORE_DATABASE}; or set `database`")
        ]
    return [*_permissions(path), _content(path)]


def _server(settings: "Settings") -> Finding:
    from mintmark.bootstrap.migrating import pending

    try:
        schema, missing = asyncio.run(pending(settings))
    except StoreUnavailableError as error:
        remedy = "check that the server runs, and that `database` and `database_password` are right"
        return Finding("database", "problem", f"{settings.database} cannot be used: {error}", remedy)
    if missing:
        what = f"{settings.database} has schema {schema.version}, this mintmark needs {missing[-1].version}"
        return Finding("database", "problem", what, "run `mintmark migrate`")
    return Finding("database", "ok", f"{settings.database}, schema {schema.version}")


def examine_redis(settings: "Settings", clock: Clock) -> list[Finding]:
    """Ask Redis; empty if the settings name none."""
    from mintmark.bootstrap.sharing import sharing
    from mintmark.config import ConfigError

    if not settings.redis:
        return []

    async def ask() -> None:
        async with sharing(settings, clock) as what:
            if what.shared is not None:
                await what.shared.check()

    try:
        asyncio.run(ask())
    except ConfigError as error:
        return [Finding("redis", "problem", error.problems[0], "or take `redis` out of the settings")]
    except StoreUnavailableError as error:
        remedy = (
            "check that it runs, and `redis`, `redis_password` and `redis_cluster`; meanwhile nodes go on without it "
            "(docs/redis.md says what is missing then)"
        )
        return [Finding("redis", "problem", f"{settings.redis} cannot be used: {error}", remedy)]
    return [Finding("redis", "ok", f"{settings.redis} answers")]


def examine_place(settings: "Settings") -> list[Finding]:
    """Compare issuer and port; empty if they agree, or a proxy may stand between them."""
    wrong = mismatch(settings)
    return [] if wrong is None else [Finding("port", "problem", *wrong)]


def _permissions(path: Path) -> list[Finding]:
    found = []
    if not access(path, W_OK) or not access(path.absolute().parent, W_OK):
        remedy = f"give {path} and its folder to the user that runs mintmark (chown), and let it write them (chmod u+w)"
        found.append(Finding("database permissions", "problem", f"{path} cannot be written by this user", remedy))
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        remedy = f"chmod 600 {path}"
        found.append(Finding("database permissions", "problem", f"everybody can read or change {path}", remedy))
    return found or [Finding("database permissions", "ok", "writable, and by nobody else")]


def _content(path: Path) -> Finding:
    if not path.stat().st_size:
        what = f"{path} is empty: it has no accounts and no keys yet"
        remedy = "restore it from a backup; to start over, move it, mintmark.toml and the key file away and run `mintmark init`"
        return Finding("database", "problem", what, remedy)
    restore = "stop mintmark and restore the newest backup; `sqlite3 FILE .recover` may save what is left"
    try:
        connection = connect_reader(path, busy_timeout=1.0)
        try:
            ((verdict,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
            schema = schema_of(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        if error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return Finding("database", "problem", f"{path} is locked", "end the process that holds it, and look again")
        return Finding("database", "problem", f"{path} is damaged, or no database of mintmark: {error}", restore)
    if verdict != "ok":
        return Finding("database", "problem", f"{path} is damaged: {' '.join(str(verdict).split())}", restore)
    version, latest = schema.version, len(migrations("sqlite"))
    if version > latest and schema.works_with > latest:
        remedy = "install that version or a later one, or restore a backup made before the upgrade"
        return Finding("database", "problem", f"a newer mintmark has upgraded {path} (schema {version})", remedy)
    if version < latest:
        what = f"{path} has schema {version}, this mintmark needs {latest}"
        return Finding("database", "problem", what, "back it up, then start `mintmark serve`, which upgrades it")
    return Finding("database", "ok", f"{path}, schema {version}")


async def examine_authority(authority: Authority) -> AsyncIterator[Finding]:
    """Look at what is registered and at the keys."""
    try:
        await authority.keyring.refresh(authority.store)
    except MasterKeyError as error:
        yield Finding(
            "master key",
            "problem",
            f"it is not the one the database was written under: {error}",
            "restore the right key from its backup; after a change of keys list the old one in previous_master_keys",
        )
        for alg in authority.policy.signing_algorithms:
            yield Finding(f"{alg} key", "skipped", "cannot be looked at without the right master key")
    else:
        yield Finding("master key", "ok", "opens every key in the database")
        for finding in _signing_keys(authority):
            yield finding
    for client in await authority.store.clients.all():
        for finding in await _client(client, authority):
            yield finding
    yield _users(await authority.store.users.all())


async def _client(client: Client, authority: Authority) -> list[Finding]:
    check = f"client {client.client_id}"
    remedy = f"`mintmark client update {client.client_id}` with what is right, or `mintmark client remove`"
    found = [Finding(check, "problem", problem, remedy) for problem in client_problems(client, authority)]
    if client.is_confidential and not client.secret_digests:
        remedy = f"`mintmark client rotate-secret {client.client_id}`"
        found.append(Finding(check, "problem", "it has no secret, so it cannot authenticate", remedy))
    found += [Finding(check, "problem", what, remedy) for what, remedy in await scope_problems(client, authority)]
    return found


def _users(users: Sequence[User]) -> Finding:
    if any(user.disabled_at is None for user in users):
        return Finding("users", "ok", f"{len(users)} registered")
    return Finding("users", "problem", "nobody can sign in", "`mintmark user create EMAIL`, or `… user enable EMAIL`")


def _signing_keys(authority: Authority) -> list[Finding]:
    now = authority.clock.now()
    if not authority.keyring.rows:
        return [Finding("keys", "skipped", "there are none yet; the first `mintmark serve` makes them")]
    found = []
    for alg in authority.policy.signing_algorithms:
        if (key := schedule.active(authority.keyring.rows, alg, now)) is not None:
            found.append(Finding(f"{alg} key", "ok", f"{key.kid} signs"))
        else:
            waiting = [key.active_at - now for key in authority.keyring.rows if key.alg == alg and key.active_at > now]
            remedy = (
                f"the next one signs in {min(waiting)} s; wait for it"
                if waiting
                else "start `mintmark serve`, which makes one; `mintmark keys list` shows them"
            )
            found.append(Finding(f"{alg} key", "problem", f"no {alg} key may sign", remedy))
    return found


def examine_server(settings: "Settings", kids: Collection[str] | None) -> Finding:
    """Ask the issuer who it is, as a client does (RFC 8414 §3.3), and whether its keys are those of the database.

    Args:
        settings: Those of this installation.
        kids: Of the keys in the database; ``None`` if it could not be looked at.
    """
    parts = urlsplit(settings.issuer)
    found = _fetched(f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}", "metadata")
    if isinstance(found, Finding):
        return found
    said = found.get("issuer")
    if said != settings.issuer:
        remedy = "clients compare byte for byte: set issuer to the URL that they use, and restart"
        return Finding("server", "problem", f"the server names the issuer {said!r}, not {settings.issuer!r}", remedy)
    if kids is None:
        return Finding("server", "ok", f"{settings.issuer} answers; its keys could not be compared with the database")
    # Not at the address that the answer gives: whoever answers may be anybody.
    url = settings.issuer + PATHS["jwks_uri"]
    found = _fetched(url, "JWK set")
    if isinstance(found, Finding):
        return found
    keys = found.get("keys")
    served = {key.get("kid") for key in keys if isinstance(key, dict)} if isinstance(keys, list) else set()
    if served.isdisjoint(kids):
        remedy = "end the other authority, or give one of the two another issuer and port; then `mintmark serve`"
        return Finding("server", "problem", f"another authority answers: no key at {url} is in the database", remedy)
    return Finding("server", "ok", f"{settings.issuer} answers, with keys of this database")


def _fetched(url: str, what: str) -> dict[str, Any] | Finding:
    """Return a JSON object, or why there is none."""
    # What is on this machine is not behind a proxy.
    opener = build_opener(ProxyHandler({})) if is_loopback(urlsplit(url).hostname or "") else build_opener()
    remedy = "something else answers there: correct issuer, or the proxy in front"
    try:
        with opener.open(url, timeout=_TIMEOUT) as response:
            document: Any = json.loads(response.read(_MAX_BYTES))
    except HTTPError as error:
        error.close()
        remedy = "something else answers there, or the proxy in front does not pass this path on: correct it, or issuer"
        return Finding("server", "problem", f"{url} answers {error.code}", remedy)
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        return Finding("server", "skipped", f"nothing answers at {url} ({reason}); is `mintmark serve` running?")
    except (OSError, ValueError, HTTPException) as error:
        return Finding("server", "problem", f"{url} is no {what}: {type(error).__name__}", remedy)
    if not isinstance(document, dict):
        return Finding("server", "problem", f"{url} is no {what}: not an object", remedy)
    return document
