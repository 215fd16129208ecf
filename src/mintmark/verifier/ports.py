"""What the verifier needs of the world: time and HTTP. Both are replaced in tests."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, Protocol


class Clock(Protocol):
    """Time of two kinds."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        ...

    def uptime(self) -> float:
        """Return seconds on a clock that nobody can set."""
        ...


# A machine that was suspended has heard nothing meanwhile; on Linux the monotonic clock does not notice.
_uptime: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


@dataclass(frozen=True, slots=True)
class _SystemClock:
    # Functions of the machine as they are: a call through a method would cost more than a cached verification.
    now = staticmethod(time.time)  # noqa: TID251 - the verifier's only clock
    uptime = staticmethod(_uptime)


SYSTEM_CLOCK: Final[Clock] = _SystemClock()


class TransportError(Exception):
    """The other side could not be asked, or what it sent was no HTTP answer within the limits. Carries no secret."""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response, whole. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


class Stream(Protocol):
    """A response body that does not end by itself."""

    status: int
    headers: Mapping[str, str]

    def read(self) -> bytes:
        """Return what has arrived, at least one octet; waits for it. Empty once the other side has ended the body.

        Raises:
            TransportError: The connection broke, was closed, or nothing came within the timeout.
        """
        ...

    def close(self) -> None:
        """End it; a ``read`` under way on another thread returns or raises soon."""
        ...


class Transport(Protocol):
    """HTTP, just as much as a verifier needs. Redirects are never followed: 3xx is returned as it is."""

    def request(
        self,
        method: Literal["GET", "POST"],
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout: float,
        max_bytes: int,
    ) -> Response:
        """Ask, and return the whole answer.

        Args:
            method: GET or POST.
            url: https, or http on loopback.
            headers: Sent as they are.
            body: What to post.
            timeout: Seconds for the whole exchange.
            max_bytes: Longest body that is read.

        Raises:
            TransportError: No answer, or one beyond the limits.
        """
        ...

    def stream(
        self, url: str, *, headers: Mapping[str, str], connect_timeout: float, read_timeout: float
    ) -> AbstractContextManager[Stream]:
        """Open a streaming GET; ``read_timeout`` is the longest silence in seconds.

        Raises:
            TransportError: It could not be opened.
        """
        ...
