"""Moving everything between the database that the settings name and a file."""

from contextlib import AbstractAsyncContextManager
from typing import BinaryIO

from mintmark.authority.keyring import Keyring
from mintmark.authority.model import AuditEvent
from mintmark.authority.wrapping import MasterKeys
from mintmark.bootstrap.opening import open_store
from mintmark.bootstrap.world import World
from mintmark.config import Settings
from mintmark.storage import moving
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import moving as sqlite


async def export_all(settings: Settings, world: World, file: BinaryIO, progress: moving.Progress) -> moving.Summary:
    """Write everything in the database into ``file``, as it is at one instant.

    Raises:
        StoreUnavailableError: The database cannot be read, or its schema is not the one expected.
        OSError: The file cannot be written.
    """
    if settings.database_file is not None:  # elsewhere the source judges its schema itself: it may be a standby
        await _check(settings, world)
    async with _source(settings) as source:
        return await moving.export(source, file, issuer=settings.issuer, now=world.clock.now(), progress=progress)


async def import_all(settings: Settings, world: World, export: moving.Export, progress: moving.Progress) -> None:
    """Put everything in ``export`` into the empty database; all of it becomes visible at once, or nothing.

    Raises:
        ExportError: There is something in it that this version does not know.
        MasterKeyError: The keys in it were written under another master key.
        NotEmptyError: The database has content.
        StoreUnavailableError: The database cannot be written, or its schema is not the one expected.
    """
    await _require_master_key(settings, world, export)
    await _check(settings, world)
    async with _target(settings) as target:
        await moving.load(export, target, progress=progress)


async def _require_master_key(settings: Settings, world: World, export: moving.Export) -> None:
    """Open every key as a node would that found them in its database."""
    store = MemoryStore()
    secrets, keys = export.wrapped()
    for secret in secrets:
        await store.keys.add_server_secret(secret)
    await store.keys.change((), keys, audit=AuditEvent(at=world.clock.now(), event="keys.imported"))
    previous = tuple(key.get_secret_value() for key in settings.previous_master_keys)
    master_keys = MasterKeys(settings.required_master_key(), previous)
    await Keyring(settings.policy(), master_keys, world.randomness).refresh(store)


async def _check(settings: Settings, world: World) -> None:
    """Let the store itself judge its schema first, or make it where it does so."""
    store = await open_store(settings, world.clock)
    await store.close()


def _source(settings: Settings) -> AbstractAsyncContextManager[moving.Source]:
    if settings.database_file is not None:
        return sqlite.reading(settings.database_file)
    from mintmark.storage.postgresql.moving import reading  # noqa: PLC0415 - an extra that few need

    return reading(settings.database, password=_password(settings))


def _target(settings: Settings) -> AbstractAsyncContextManager[moving.Target]:
    if settings.database_file is not None:
        return sqlite.writing(settings.database_file)
    from mintmark.storage.postgresql.moving import writing  # noqa: PLC0415

    return writing(settings.database, password=_password(settings))


def _password(settings: Settings) -> str | None:
    return None if settings.database_password is None else settings.database_password.get_secret_value()
