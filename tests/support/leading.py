"""A serving node as a process of its own, whose clock is wrong and which stops itself where a test wants it to.

It says what happens on standard output, one JSON object a line: what it logs (``event``), and

- ``{"ready": port}``,
- ``{"paused": verb}`` just before it stops itself (SIGSTOP) in front of a write under its lease,
- ``{"outcome": …}`` what became of that write: ``done``, or the name of the error.

Where to stop is ``keys.change`` or ``sweep``, before the verb is called, or ``transaction``: in the midst of one, when
PostgreSQL has just been asked whether the lease is held.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from pydantic import SecretBytes

from mintmark import bootstrap
from mintmark.authority import leadership
from mintmark.authority.core import Authority
from mintmark.authority.ports import Lease
from mintmark.bootstrap import working
from mintmark.cli import listening, serving
from mintmark.config import Settings
from mintmark.storage.postgresql import keys as postgresql_keys
from mintmark.storage.postgresql import store as postgresql_store
from mintmark.storage.postgresql.connections import Connection
from mintmark.storage.postgresql.leases import require_held
from mintmark.system.clock import SystemClock, SystemRandomness

ISSUER: Final = "https://id.example"
PATIENCE: Final = 2.0
"""Seconds until a lease may be taken; much less than in earnest."""
ROTATION: Final = 2
"""Seconds a key signs."""


class WrongClock(SystemClock):
    """The clock of a machine that is set wrong."""

    def __init__(self, skew: int) -> None:
        self._skew = skew

    def now(self) -> int:
        return super().now() + self._skew


def settings_of(database: str) -> Settings:
    """Return the settings that all nodes share: keys rotate every few seconds."""
    return Settings(
        issuer=ISSUER,
        database=database,
        master_key=SecretBytes(bytes(32)),
        signing_algorithms=("ES256",),
        jwks_lifetime=1,
        key_rotation_interval=ROTATION,
    )


def world_of(skew: int) -> bootstrap.World:
    """Return the world of a node whose clock is ``skew`` seconds ahead."""
    return bootstrap.World(WrongClock(skew), SystemRandomness(), has_cheap_passwords=True)


def say(**what: Any) -> None:
    """Tell the test."""
    print(json.dumps(what), flush=True)


def stop_inside() -> None:
    """Have this process stop itself in the next transaction under a lease, which keeps the row of the lease locked."""
    modules: tuple[Any, ...] = (postgresql_keys, postgresql_store)

    async def call(connection: Connection, lease: Lease | None) -> None:
        await require_held(connection, lease)
        if lease is not None and modules[0].require_held is call:
            for module in modules:
                module.require_held = require_held
            say(paused="transaction")
            os.kill(os.getpid(), signal.SIGSTOP)

    for module in modules:
        module.require_held = call


def stop_before(authority: Authority, verb: str) -> None:
    """Have this process stop itself before the next ``verb`` under a lease, as if the machine had been suspended."""
    store: Any = authority.store
    of, _, name = verb.rpartition(".")
    holder = getattr(store, of) if of else store
    inner: Callable[..., Awaitable[Any]] = getattr(holder, name)

    async def call(*args: Any, **kwargs: Any) -> Any:
        setattr(holder, name, inner)
        say(paused=verb)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            result = await inner(*args, **kwargs)
        except Exception as error:
            say(outcome=type(error).__name__)
            raise
        say(outcome="done")
        return result

    setattr(holder, name, call)


async def serve(database: str, skew: int, stop_at: str) -> None:
    """Serve until told to stop."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with bootstrap.running(settings_of(database), world_of(skew)) as authority:
            if stop_at == "transaction":
                stop_inside()
            elif stop_at:
                stop_before(authority, stop_at)
            await serving.serve(
                authority,
                listener,
                on_ready=lambda: say(ready=listener.getsockname()[1]),
                patience=1,
                cleanup_interval=1,
                cleanup_batch=100,
            )


if __name__ == "__main__":
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(sys.stdout)
    )
    leadership.LEASE_PATIENCE, leadership.RENEW_EVERY = PATIENCE, PATIENCE / 3  # type: ignore[misc]
    working._LOOK_EVERY = 0.2  # type: ignore[misc]
    where, ahead, pause_at = sys.argv[1:]
    listening.run(serve(where, int(ahead), pause_at))
