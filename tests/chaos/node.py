"""`mintmark serve` with a clock that can be set, or with something left out. Run as a child process.

    python -m tests.chaos.node CLOCK VARIANT serve --config FILE

CLOCK is a file of eight bytes: by how many seconds this node's clock is wrong, read whenever it looks at its clock.
"""

import asyncio
import mmap
import random
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_OFFSET: Final = struct.Struct("=q")
_SLOW_SHARE: Final = 0.1
_SLOW_SECONDS: Final = (6.0, 9.0)


class WrongClock:
    """The machine's clock, some seconds off."""

    def __init__(self, offset: Path) -> None:
        from mintmark.system.clock import SystemClock

        self._clock = SystemClock()
        with offset.open("rb") as file:
            self._offset = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)

    def now(self) -> int:
        (offset,) = _OFFSET.unpack(self._offset[: _OFFSET.size])
        return self._clock.now() + int(offset)


def set_clock(offset: Path, seconds: int) -> None:
    """Set the clock of a node, which may be running."""
    with offset.open("r+b" if offset.exists() else "wb") as file:
        file.write(_OFFSET.pack(seconds))


def be_slow() -> None:
    """Let some refreshes take their time between reading the row and writing it."""
    from mintmark.jose.jwk import Key
    from mintmark.system.signing import PoolSigner

    sign = PoolSigner.sign

    async def slowly(self: PoolSigner, key: Key, signing_input: bytes) -> bytes:
        if random.random() < _SLOW_SHARE:
            await asyncio.sleep(random.uniform(*_SLOW_SECONDS))
        return await sign(self, key, signing_input)

    PoolSigner.sign = slowly  # type: ignore[method-assign]


def be_without_compare_and_set() -> None:
    """Take the guard of invariant I1 out of the statement, before any adapter has read it."""
    from mintmark.storage import statements

    guarded = statements.GRANT_ADVANCE
    statements.GRANT_ADVANCE = guarded.replace("generation = ?2", "?2 >= 0")  # type: ignore[misc]
    assert guarded != statements.GRANT_ADVANCE
    be_slow()


def be_deaf() -> None:
    """Say that all revocations were read, and read none."""
    from mintmark.authority.denylist import Denylist
    from mintmark.authority.ports import Store

    async def pull(self: Denylist, store: Store) -> None:
        self.pulls += 1

    Denylist.pull = pull  # type: ignore[method-assign]
    Denylist.hear = lambda *_: False  # type: ignore[method-assign]


VARIANTS: Final[Mapping[str, Callable[[], None]]] = {
    "whole": lambda: None,
    "slow": be_slow,
    "without compare-and-set": be_without_compare_and_set,
    "deaf": be_deaf,
}
"""``slow`` is allowed to be: it shows that it is not the slowness which the checker reports."""


def run(clock: Path, variant: str, words: Sequence[str]) -> None:
    """Run the command line in this process, and exit."""
    VARIANTS[variant]()
    from mintmark import bootstrap
    from mintmark.cli import main, opening
    from mintmark.system.clock import SystemRandomness

    world = bootstrap.World(WrongClock(clock), SystemRandomness())
    opening.real_world = lambda: world
    main.main(words)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
