"""The only real clock and the only real randomness."""

import secrets
import time


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return Unix time in whole seconds."""
        return int(time.time())  # noqa: TID251 - this is the Clock port's adapter


class SystemRandomness:
    """The operating system's generator."""

    def bytes(self, nbytes: int) -> bytes:
        """Return ``nbytes`` unpredictable bytes."""
        return secrets.token_bytes(nbytes)
