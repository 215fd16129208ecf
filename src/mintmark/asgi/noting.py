"""What is noted of each request: an id that ties its log lines together, how it ended, how long it took."""

import logging
import os
import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import count
from typing import Final

import structlog

from mintmark.asgi.messages import Scope
from mintmark.authority.meter import Meter

request_id: Final[ContextVar[str]] = ContextVar("mintmark request id", default="")
"""Of the request that this task answers; empty outside."""

client_address: Final[ContextVar[str]] = ContextVar("mintmark client address", default="")
"""Whence the request comes that this task answers, as far as proxies are trusted; empty outside."""

NOTED: Final = "mintmark.noted"
"""Key of the ASGI scope: whoever wraps the application and puts a dictionary there finds in it how a request ended."""

SLOW: Final = 1.0
"""Seconds from which on an answer is worth a line in the log."""

# Room for a UUID or a trace id, and none for what must not be in a log: the shortest of our secrets has 43 characters.
_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{1,36}")

# Made from a number, since drawing randomness for each request would cost more than everything else that is noted.
# The process id is asked for each time: a process that forks goes on with the same numbers.
_BEGINNING: Final = secrets.token_hex(4)
_NUMBERS: Final = count(1)

log = structlog.get_logger("mintmark.http")


def address_of(scope: Scope) -> str:
    """Return whence a request comes; ``unknown`` where there is no address, as on a Unix socket."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that the caller gave the request, or one that nobody else has."""
    for name, value in headers:
        if name == b"x-request-id" and _WELL_FORMED.fullmatch(value):
            return value.decode()
    return f"{_BEGINNING}-{os.getpid():x}-{next(_NUMBERS):x}"


class Noting:
    """Notes the requests of one endpoint.

    Args:
        path: What it is called: the route, never what was sent, which may hold a misplaced token.
        meter: Where they are counted.
    """

    def __init__(self, path: str, meter: Meter) -> None:
        self._path = path
        self._meter = meter
        # Asking the logger costs more than the rest together, so it is asked once.
        self._is_verbose: bool = log.is_enabled_for(logging.DEBUG)

    def note(self, scope: Scope, status: int, error: str, seconds: float) -> None:
        """Note a request whose answer is ready: counted always, in the log at ``debug`` or if it was slow."""
        self._meter.note(self._path, status, error, seconds)
        noted = scope.get(NOTED)
        if noted is not None:
            noted.update(endpoint=self._path, status=status, error=error, request_id=request_id.get())
        if seconds >= SLOW:
            log.info("slow", **self._line(scope["method"], status, error, seconds))
        elif self._is_verbose:
            log.debug("request", **self._line(scope["method"], status, error, seconds))

    def _line(self, method: str, status: int, error: str, seconds: float) -> dict[str, str | int | float]:
        line: dict[str, str | int | float] = {
            "path": self._path,
            "method": method,
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        return line | ({"error": error} if error else {})
