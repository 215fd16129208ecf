"""One connection of the verifier's HTTP client: whatever it does ends in time, and guesses at nothing."""

import contextlib
import http.client
import io
import math
import os
import socket
from collections.abc import Iterator
from typing import Any, Final, cast

from mintmark.verifier.addresses import Origin
from mintmark.verifier.ports import Clock

_SLACK: Final = 0.02
"""Seconds by which a deadline may be missed."""
_MAX_LENGTH_DIGITS: Final = 18


def left(clock: Clock, deadline: float) -> float:
    """Return the seconds until ``deadline``.

    Raises:
        TimeoutError: It has passed.
    """
    seconds = deadline - clock.uptime()
    if seconds <= 0:
        raise TimeoutError
    return seconds


class Connection:
    """One connection; whatever it does ends at ``deadline``, however slowly the other side drips."""

    def __init__(self, sock: socket.socket, origin: Origin, deadline: float, clock: Clock) -> None:
        self.origin = origin
        self.deadline = deadline
        self.idle_since = 0.0
        self.has_heard = False
        self._has_ended = False
        self._sock = sock
        # As it was told to the kernel; infinite: unknown.
        self._timeout = math.inf
        self._clock = clock
        self._pid = os.getpid()

    def ask(self, method: str, octets: bytes) -> http.client.HTTPResponse:
        """Send a request and return its answer, of which status and headers have arrived."""
        self.has_heard = False
        unsent = memoryview(octets)
        while unsent:
            self._limit()
            unsent = unsent[self._sock.send(unsent) :]
        # All it ever does with the socket is to call makefile().
        response = http.client.HTTPResponse(cast("socket.socket", self), method=method)
        response.begin()
        # http.client takes the end of the connection for the end of the headers.
        if self._has_ended:
            raise http.client.IncompleteRead(b"")
        _check_framing(response)
        return response

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what ``http.client`` reads from."""
        return io.BufferedReader(_Incoming(self))

    def receive_into(self, buffer: Any) -> int:
        """Wait for octets, at most until the deadline."""
        self._limit()
        count = self._sock.recv_into(buffer)
        self.has_heard = self.has_heard or count > 0
        self._has_ended = count == 0
        return count

    def postpone(self, seconds: float) -> None:
        """Let the deadline be that many seconds from now."""
        self.deadline = self._clock.uptime() + seconds

    def _limit(self) -> None:
        """Let what the socket does next end at the deadline, within `_SLACK`.

        On a stream the deadline is postponed again and again and stays as far away: a system call less for each event,
        and one occasion less to lose the interpreter's lock.
        """
        seconds = left(self._clock, self.deadline)
        if abs(seconds - self._timeout) > _SLACK:
            self._sock.settimeout(seconds)
            self._timeout = seconds

    def is_quiet(self) -> bool:
        """Whether nothing came since the last answer: neither the end nor what nobody asked for."""
        self._sock.settimeout(0)
        self._timeout = math.inf
        try:
            # Below TLS, where looking changes nothing.
            socket.socket.recv(self._sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def is_ours(self) -> bool:
        """Whether this process opened it."""
        return self._pid == os.getpid()

    def interrupt(self) -> None:
        """Make a ``receive_into`` on another thread end. In a forked child, only let go of our copy."""
        if not self.is_ours():
            self.close()
            return
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown: that one takes the TLS state away under the reader, who would read bare octets.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    @contextlib.contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """Close it if the block fails."""
        try:
            yield
        except BaseException:
            self.close()
            raise


class _Incoming(io.RawIOBase):
    """The receiving half of a connection. Closing it leaves the connection open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.receive_into(buffer)


def _check_framing(response: http.client.HTTPResponse) -> None:
    """Refuse an answer of which ``http.client`` guesses where it ends (RFC 9112 §6.3)."""
    headers = response.headers
    lengths = set(headers.get_all("content-length", []))
    is_number = all(one.isascii() and one.isdigit() and len(one) <= _MAX_LENGTH_DIGITS for one in lengths)
    # A line without a colon would end the headers, and those behind it would count for nothing.
    if headers.defects or len(lengths) > 1 or not is_number:
        raise http.client.HTTPException
    if "transfer-encoding" in headers and not response.chunked:
        raise http.client.HTTPException
    # 103 and the like are no answers yet, and nobody asked for another protocol (101).
    if response.status < 200:
        raise http.client.HTTPException
