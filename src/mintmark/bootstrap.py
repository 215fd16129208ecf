"""The only place where adapters meet ports: settings in, a running authority out."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from starlette.routing import Router

from mintmark.asgi import ASGIApp, Receive, Scope, Send
from mintmark.authority.core import Authority
from mintmark.authority.denylist import Denylist
from mintmark.authority.keyring import Keyring
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Clock, Randomness, Store, StoreUnavailableError
from mintmark.authority.wrapping import MasterKeys
from mintmark.config import Settings
from mintmark.pages.routes import page_routes, unknown_page
from mintmark.storage.memory import MemoryStore
from mintmark.storage.remembered import RememberingStore
from mintmark.storage.sqlite import SQLiteStore
from mintmark.system.clock import SystemClock, SystemRandomness
from mintmark.system.limiting import MemoryLimiter
from mintmark.system.passwords import Argon2Passwords
from mintmark.system.signing import PoolSigner
from mintmark.web.routes import UNKNOWN_BELOW, unknown_endpoint, web_routes
from mintmark.web.streaming import Feed

_HEAR_EVERY: Final = 0.1
"""Seconds between two looks for revocations of other processes: one short read each."""
_CATCH_UP_EVERY: Final = 1.0
"""Seconds between two looks for keys that others changed."""
_TRY_AGAIN_IN: Final = 1.0
"""Seconds until what failed is tried again."""

log = structlog.get_logger("mintmark")


@dataclass(frozen=True, slots=True)
class World:
    """What tests replace: time, chance and how much work a password is."""

    clock: Clock
    randomness: Randomness
    has_cheap_passwords: bool = False


def real_world() -> World:
    """Return the machine's clock and randomness."""
    return World(SystemClock(), SystemRandomness())


def open_store(database: str, clock: Clock) -> Store:
    """Open the database that a setting names: ``memory:`` or the path of an SQLite file.

    Raises:
        StoreUnavailableError: It cannot be opened, or its schema is newer than this version knows.
    """
    if database == "memory:":
        return MemoryStore()
    return SQLiteStore.open(Path(database), now=clock.now())


def assemble(
    policy: Policy,
    store: Store,
    master_keys: MasterKeys,
    world: World,
    *,
    signing_threads: int = 2,
    password_threads: int = 2,
) -> Authority:
    """Put an authority together; ``start`` it before use."""
    return Authority(
        policy=policy,
        store=store,
        clock=world.clock,
        randomness=world.randomness,
        signer=PoolSigner(signing_threads),
        passwords=Argon2Passwords(password_threads, is_cheap=world.has_cheap_passwords),
        limiter=MemoryLimiter(world.clock),
        keyring=Keyring(policy, master_keys, world.randomness),
        denylist=Denylist(),
    )


@contextlib.asynccontextmanager
async def running(settings: Settings, world: World | None = None) -> AsyncIterator[Authority]:
    """Open the store that ``settings`` name and start an authority on it; close it afterwards.

    Raises:
        StoreUnavailableError: See ``open_store``.
        ConfigError: There is no master key.
        MasterKeyError: The stored keys were written under another master key.
    """
    world = world or real_world()
    store = open_store(settings.database, world.clock)
    try:
        authority = assemble(
            settings.policy(),
            RememberingStore(store, world.clock),
            MasterKeys(
                settings.required_master_key(), tuple(key.get_secret_value() for key in settings.previous_master_keys)
            ),
            world,
            signing_threads=settings.signing_threads,
            password_threads=settings.password_threads,
        )
        await authority.start()
        yield authority
    finally:
        await store.close()


def application(authority: Authority, feed: Feed | None = None) -> ASGIApp:
    """Return the ASGI application of a started authority: the JSON edge, the HTML edge, and answers for the rest.

    Whoever has to end the streams when the server stops passes the ``feed`` to close then.
    """
    json_unknown, html_unknown = unknown_endpoint(), unknown_page(authority)

    async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
        is_json = scope["path"].startswith(UNKNOWN_BELOW)
        await (json_unknown if is_json else html_unknown)(scope, receive, send)

    return Router(
        [*web_routes(authority, feed or Feed(authority)), *page_routes(authority)],
        redirect_slashes=False,
        default=unknown,
    )


@contextlib.asynccontextmanager
async def chores(authority: Authority, *, cleanup_interval: int, cleanup_batch: int) -> AsyncIterator[None]:
    """Run the background work while the context lasts: hear of changes all the time, clean up every interval.

    Revocations are heard of in a task of their own: whatever fails or hangs beside it does not hold that up (invariant
    I6), nor the other way round. A failure is logged and tried again a second later; it never ends the work.
    """
    clean_up_in = 0.0

    async def hear() -> None:
        await authority.denylist.pull(authority.store)

    async def keep_up() -> None:
        nonlocal clean_up_in
        clean_up_in -= _CATCH_UP_EVERY
        await authority.keyring.refresh(authority.store)
        if clean_up_in > 0:
            return
        done = await authority.upkeep(cleanup_batch)
        clean_up_in = cleanup_interval
        if any(done.values()):
            log.info("upkeep", **done)

    tasks = [
        asyncio.create_task(_forever(hear, _HEAR_EVERY, "hearing"), name="mintmark hearing"),
        asyncio.create_task(_forever(keep_up, _CATCH_UP_EVERY, "upkeep"), name="mintmark upkeep"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _forever(work: Callable[[], Awaitable[None]], every: float, during: str) -> None:
    pause = every
    while True:
        await asyncio.sleep(pause)
        pause = _TRY_AGAIN_IN
        try:
            await work()
            pause = every
        except StoreUnavailableError as problem:
            log.warning("store unavailable", during=during, reason=str(problem))
        except Exception as problem:  # the work must go on; see ``chores``
            log.exception("upkeep failed", during=during, kind=type(problem).__name__)
