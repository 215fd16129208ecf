"""Signatures: RSA on a thread pool, since it takes a millisecond and releases the GIL; elliptic curves inline.

Measured: RSA on two threads is 1.5 times as fast as inline; ES256 and Ed25519 on a pool drop to 0.28 of inline. On one
core there is nothing to win, and a request for a token with RS256 costs 1.25 times as much by a thread as inline.
"""

import os
from typing import Final

from mintmark.jose import jws
from mintmark.jose.jwk import Key
from mintmark.system.threads import Threads

_SLOW: Final = frozenset({"RS256", "PS256"})


class PoolSigner:
    """Signs on threads where that pays.

    Args:
        threads: How many at most; 0 for none.
        cores: How many this process may run on; by default, what the system says.
    """

    def __init__(self, threads: int, cores: int | None = None) -> None:
        has_room = (_cores() if cores is None else cores) > 1
        self._threads = Threads(threads, "sign") if threads and has_room else None

    async def sign(self, key: Key, signing_input: bytes) -> bytes:
        """Return the signature of ``signing_input`` by ``key``."""
        if self._threads is None or key.alg not in _SLOW:
            return jws.sign_input(key, signing_input)
        return await self._threads.run(jws.sign_input, key, signing_input)

    @property
    def usage(self) -> dict[str, int]:
        """See ``Threads.usage``."""
        return {"busy": 0, "size": 0, "waiting": 0} if self._threads is None else self._threads.usage

    def close(self) -> None:
        """Let the threads go."""
        if self._threads is not None:
            self._threads.close()


def _cores() -> int:
    # Where the system knows, less than there are: `taskset` and cpusets count, a quota of time does not.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
