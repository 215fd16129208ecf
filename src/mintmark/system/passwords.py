"""Passwords: Argon2id in a bounded pool (RFC 9106), and how easily one is guessed (zxcvbn)."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import CHEAPEST, RFC_9106_LOW_MEMORY

from mintmark.system.threads import Threads
from mintmark.system.turns import Turns

Result = TypeVar("Result")

_MIN_SCORE: Final = 2
# zxcvbn tries every reading of what may be l33t: 72 characters took it 8 to 13 seconds, these 0.1. A
# password is at least as hard to guess as its beginning.
_MAX_JUDGED_CHARS: Final = 20
_MAX_WAITING: Final = 64


def judge(password: str, words: tuple[str, ...]) -> str | None:
    """Say why ``password`` is easily guessed by somebody who knows ``words``, or ``None`` if it is not."""
    # Imported when first needed: its word lists take 20 MiB that a node without password changes never needs.
    from zxcvbn import zxcvbn  # noqa: PLC0415

    judged = zxcvbn(password[:_MAX_JUDGED_CHARS], user_inputs=[word for word in words if word])
    if judged["score"] >= _MIN_SCORE:
        return None
    warning = judged["feedback"]["warning"] or "This password is easily guessed"
    return f"{warning.rstrip('.')}. Use a longer one, for instance four unrelated words"


class Argon2Passwords:
    """Hashes at most ``threads`` passwords at once; each takes 64 MiB and about 0.2 s of a core."""

    def __init__(self, threads: int, *, is_cheap: bool = False) -> None:
        """Make the pool; ``is_cheap`` is for tests and ``mintmark dev`` only."""
        self._hasher = PasswordHasher.from_parameters(CHEAPEST if is_cheap else RFC_9106_LOW_MEMORY)
        self._threads = Threads(threads, "password")
        self._turns = Turns(threads, _MAX_WAITING)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """Return the encoded hash of ``password``.

        Raises:
            OAuthError: ``temporarily_unavailable``, as all methods that do slow work, if too many are waiting.
        """
        return await self._work(lambda: self._hasher.hash(_bytes(password)))

    async def _work(self, act: Callable[[], Result], source: str = "") -> Result:
        async with self._turns.turn(source):
            return await self._threads.run(act)

    async def verify(self, password_hash: str | None, password: str, *, source: str = "") -> bool:
        """Tell whether ``password`` belongs to ``password_hash``; ``None`` takes as long and says no (ASVS 6.3.8).

        Sources take turns: who guesses from a few of them holds up nobody else's sign-in.
        """
        if self._nobody is None:
            self._nobody = await self.hash("nobody's password")
        against = password_hash or self._nobody
        found = await self._work(lambda: self._verify(against, password), source)
        return found and password_hash is not None

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False

    async def weakness(self, password: str, words: Sequence[str]) -> str | None:
        """Say why ``password`` is easily guessed by somebody who knows ``words``, or ``None`` if it is not."""
        return await self._work(lambda: judge(password, tuple(words)))

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether ``password_hash`` was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    @property
    def usage(self) -> dict[str, int]:
        """See ``Threads.usage``."""
        return self._threads.usage | {"waiting": self._turns.waiting}

    def close(self) -> None:
        """Let the threads go."""
        self._threads.close()


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
