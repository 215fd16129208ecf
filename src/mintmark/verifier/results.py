"""What was verified lately, so that asking again about the same token costs a look-up.

Two generations stand in for a list by last use: results are found in the young one for nothing, found in the old one
they become young again, and when the young one is full the old one is dropped whole. What is asked for often stays, the
bound holds, and a hit touches no lock and moves nothing.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mintmark.jose.jwk import Key
from mintmark.verifier.token import Token

if TYPE_CHECKING:
    from mintmark.verifier.source import Source, State

_TOKEN_BYTES: Final = 4096
"""About what the objects of one result take beside the text of the token, measured."""


class Result(msgspec.Struct, gc=False):
    """A token that was verified, and how long that is worth something.

    Attributes:
        token: What it says.
        claims: The same, as `RevocationTable.revokes` wants it.
        source: The issuer's keys and revocations it was judged by.
        key: The key that signed it; ``None`` if only the issuer can say what it is.
        state: The state of ``source`` by which it was judged last.
        until: Uptime at which it has to be verified anew.
        asked_at: Uptime at which the issuer was asked.
    """

    token: Token
    claims: Mapping[str, Any]
    source: "Source"
    key: Key | None
    state: "State"
    until: float
    asked_at: float = 0.0


class ResultCache:
    """Results by the text of the token; never more than ``max_count``, nor about ``max_bytes``.

    Attributes:
        young: The generation that a hit is looked up in first; read it, do not change it.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.young: dict[str, Result] = {}
        self._old: dict[str, Result] = {}
        self._max_count = max(1, max_count // 2)
        self._max_bytes = self._room = max_bytes // 2
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self.young) + sum(raw not in self.young for raw in list(self._old))

    def get(self, raw: str) -> Result | None:
        """Return the result of ``raw``; found in the old generation it becomes young again."""
        found = self.young.get(raw)
        if found is None:
            found = self._old.get(raw)
            if found is not None:
                self.put(raw, found)
        return found

    def put(self, raw: str, result: Result) -> None:
        """Keep ``result``."""
        size = len(raw) + _TOKEN_BYTES
        with self._changing:
            if raw not in self.young:
                room = self._room - size
                if room < 0 or len(self.young) >= self._max_count:
                    if size > self._max_bytes:
                        return
                    self._old, self.young, room = self.young, {}, self._max_bytes - size
                self._room = room
            self.young[raw] = result

    def discard(self, raw: str) -> None:
        """Forget the result of ``raw``; what it took counts until the generation ends."""
        with self._changing:
            self.young.pop(raw, None)
            self._old.pop(raw, None)

    def reset_after_fork(self) -> None:
        """Make the lock anew: another thread of the parent may have held it."""
        self._changing = threading.Lock()
