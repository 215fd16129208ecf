"""A node that dies at once when a revocation is committed: before it has read, told or answered anything.

    python -m tests.e2e.committing SETTINGS WHAT

SETTINGS is JSON; WHAT is ``grant`` or ``access_token``. It prints a JSON object of what it revokes, and is killed by
itself (SIGKILL).
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

from pydantic import SecretBytes
from tests.support.families import found

from mintmark import bootstrap
from mintmark.authority.ports import Store
from mintmark.authority.revocation import revoke
from mintmark.config import Settings


class _Deadly:
    """Does what ``inner`` does; whoever calls ``verb`` dies when it has done its work."""

    def __init__(self, inner: Any, **verbs: str) -> None:
        self._inner = inner
        self._verbs = verbs

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        verb = self._verbs.get(name)
        if verb is None:
            return member
        return _Deadly(member, **{verb: ""}) if verb else _deadly(member)


def _deadly(verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def act(*args: Any, **kwargs: Any) -> None:
        await verb(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    return act


async def main(settings: Settings, what: str) -> None:
    """Revoke something, and die of it."""
    # Without its chores, which might have their turn before it dies.
    async with bootstrap.running(settings) as authority:
        (family,), _ = await found(authority, 1)
        app = await authority.store.clients.get("app")
        assert app is not None
        print(json.dumps({"gid": family.gid, "access_token": family.access_token}), flush=True)
        deadly = cast("Store", _Deadly(authority.store, grants="end", revocations="add"))
        presented = family.refresh_token if what == "grant" else family.access_token
        await revoke(replace(authority, store=deadly), app, presented)


if __name__ == "__main__":
    given, chosen = sys.argv[1:]
    asyncio.run(main(Settings(**json.loads(given), master_key=SecretBytes(bytes(32))), chosen))
