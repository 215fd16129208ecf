"""RSA keys that are made once in a process and lent to one mint at a time: making one takes longer than most tests."""

import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from mintmark.authority.keyring import Keyring
from mintmark.authority.model import SigningKey
from mintmark.jose import jwk
from mintmark.jose.algorithms import Algorithm
from mintmark.jose.jwk import Key

ALGORITHM: Final[Algorithm] = "RS256"


class _Pool:
    """Keys nobody uses just now. Two mints never share a key: neither would notice a token of the other.

    Without a lock: keys come back while garbage is collected, which may happen in the middle of ``lend``.
    """

    def __init__(self) -> None:
        self._free: deque[Key] = deque()

    def lend(self) -> Key:
        try:
            return self._free.pop()
        except IndexError:
            return jwk.generate(ALGORITHM)

    def take_back(self, lent: dict[str, Key]) -> None:
        with suppress(KeyError):
            while True:
                self._free.append(lent.popitem()[1])


_POOL: Final = _Pool()


@dataclass(slots=True, weakref_slot=True, eq=False)
class LentKeyring(Keyring):
    """A keyring whose keys are lent. They go back with `give_back`, or once nobody can use the keyring any more."""

    _lent: dict[str, Key] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        weakref.finalize(self, _POOL.take_back, self._lent).atexit = False

    def make(self, alg: Algorithm) -> SigningKey:
        """Borrow a key; it is never stored, so there is nothing to wrap."""
        key = _POOL.lend()
        self._lent[key.kid] = key
        return SigningKey(kid=key.kid, alg=alg, public_jwk=key.public_jwk(), wrapped=b"", published_at=0, active_at=0)

    def _open(self, row: SigningKey) -> Key:
        return self._lent[row.kid]

    def give_back(self) -> None:
        """Let other mints have the keys; nothing is signed here from now on."""
        self.rows, self._opened = (), {}
        _POOL.take_back(self._lent)
