"""Databases to move from and to, some of everything to move, and the exports of it."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.storage.moved import KINDS, Database, SQLiteFile, make
from tests.storage.store_things import (
    NOW,
    client,
    consent,
    event,
    grant,
    refreshed,
    resource,
    revocation,
    role,
    secret,
    session,
    signing_key,
    step,
    user,
)

from mintmark.authority.ports import GrantSelector, Store
from mintmark.storage import moving
from mintmark.storage.moving import Export


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database to move from."""
    return make(request, request.param, tmp_path / "source.sqlite3")


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database to move to."""
    return make(request, request.param, tmp_path / "target.sqlite3")


@pytest.fixture
def file(tmp_path: Path) -> SQLiteFile:
    """A SQLite file to move from, where it does not matter what kind it is."""
    return SQLiteFile(tmp_path / "any.sqlite3")


async def fill(store: Store) -> None:
    """Store some of everything, with every column set and every column unset."""
    for each in (client(), client("späť 🦊", secret_digests=("d",), disabled_at=NOW)):
        await store.clients.add(each)
    await store.resources.add(resource())
    await store.roles.add(role())
    await store.users.add(user(email="Ada@Example.com"))
    await store.grants.add(grant("code"), event())
    await store.grants.add(refreshed("old", sid=None, replays=2), event())
    await store.grants.advance(step("old", expected=1, generation=2**31 - 1))
    await store.grants.add(refreshed("ended"), event())
    await store.grants.end(
        GrantSelector(id=refreshed("ended").id), reason="reuse", at=NOW, audit=event(gid="g", subject="usr_ada")
    )
    await store.sessions.add(session(), replaces=None, audit=event(client_id="shop", detail={"n": 1, "text": "ü\n"}))
    await store.consents.put(consent(claims=("email",)), event())
    keys = [signing_key("k1", retired_at=NOW + 9, removed_at=NOW + 10, compromised=True), signing_key("k2")]
    await store.keys.change([], keys, revocations=[revocation("k1", kind="kid")], audit=event())
    await store.keys.add_server_secret(secret())
    for number in range(12):  # more than nine: their order is that of numbers, not of texts
        await store.revocations.add(revocation(f"jti{number}"), event(f"revoked {number}"))
    await store.revocations.add(revocation("usr_ada", kind="sub", before=NOW), event("last"))


async def filled(database: Database) -> bytes:
    """Fill a database and return its export."""
    await database.on_store(fill)
    return await exported(database)


async def exported(database: Database, progress: moving.Progress = lambda *_: None) -> bytes:
    file = io.BytesIO()
    async with database.reading() as source:
        await moving.export(source, file, issuer="https://id.example", now=NOW, progress=progress)
    return file.getvalue()


async def taken(database: Database, content: bytes) -> None:
    """Take an export into a database."""
    async with database.writing() as target:
        await moving.load(Export(io.BytesIO(content)), target, progress=lambda *_: None)


def forged(content: bytes, change: Callable[[list[bytes]], Sequence[bytes]]) -> bytes:
    """Return an export with other lines and a last line that fits them."""
    *lines, last = content.splitlines(keepends=True)
    changed = b"".join(change(lines))
    return changed + json.dumps(json.loads(last) | {"sha256": hashlib.sha256(changed).hexdigest()}).encode()
