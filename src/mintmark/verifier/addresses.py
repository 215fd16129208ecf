"""Where the verifier may connect to, how a request is written, and how a name becomes a connected socket in time."""

import contextlib
import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from mintmark.verifier.ports import Clock, TransportError

_DEFAULT_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}
_URL: Final = re.compile(r"[\x21-\x7e]+")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,252}[a-z0-9])?")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
# Written below; a second one would leave the reader to guess which counts.
_OWN_HEADERS: Final = frozenset({"host", "accept-encoding", "content-length", "transfer-encoding"})
_MAX_LOOKUPS: Final = 8

_Found = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host in lower case, and port."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def split_url(url: str) -> tuple[Origin, str]:
    """Return where to connect and what to ask for there.

    Raises:
        TransportError: The URL is not one of https, or of http on loopback, or holds what it must not: credentials, a
            fragment, white space, control characters.
    """
    try:
        parts = urlsplit(url) if _URL.fullmatch(url) else None
        origin = None if parts is None or "@" in parts.netloc or "#" in url else _origin(parts)
    except ValueError:
        parts = origin = None
    if parts is None or origin is None:
        raise TransportError("not a URL that may be asked")
    if origin.scheme == "http" and not (origin.host == "localhost" or _is_loopback(origin.host)):
        raise TransportError("http is for loopback only; use https")
    return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def encode_request(method: str, origin: Origin, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Return a request as it goes over the wire.

    Raises:
        TransportError: A header cannot be sent, or is not the caller's to set.
    """
    # Nothing is unpacked here; without this header any coding would do (RFC 9110 §12.5.3).
    lines = [f"{method} {target} HTTP/1.1", f"Host: {origin.authority}", "Accept-Encoding: identity"]
    for name, value in headers.items():
        is_sendable = _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
        if not is_sendable or name.lower() in _OWN_HEADERS:
            raise TransportError("a header cannot be sent")
        lines.append(f"{name}: {value}")
    if body is not None or method == "POST":
        lines.append(f"Content-Length: {len(body or b'')}")
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (body or b"")


class Addresses:
    """Looks names up and connects. Thread-safe.

    The C library's look-up can be neither interrupted nor told how long it may take, so it runs on a thread that is
    left behind when the deadline has passed; few may be, lest a dead name server fill the process with threads.
    """

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(_MAX_LOOKUPS)

    def connect(self, origin: Origin, deadline: float, clock: Clock) -> socket.socket:
        """Return a connected socket.

        Raises:
            OSError: Nobody is there; `TimeoutError` once the deadline has passed.
            TransportError: ``localhost`` is not this machine.
        """
        found = self._look_up(origin, deadline - clock.uptime())
        addresses = [(family, address) for family, _, _, _, address in found]
        # Somebody else's hosts file or name server may send what is meant for this machine elsewhere, in clear.
        if origin.scheme == "http" and not all(_is_loopback(address[0]) for _, address in addresses):
            raise TransportError("http is for loopback only; use https")
        failure: OSError = TimeoutError()
        for tried, (family, address) in enumerate(addresses):
            # One address that swallows everything must leave time for the others.
            seconds = (deadline - clock.uptime()) / (len(addresses) - tried)
            if seconds <= 0:
                raise TimeoutError
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(seconds)
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _look_up(self, origin: Origin, seconds: float) -> _Found:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(origin.host)
            return socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        if not self._free.acquire(timeout=max(seconds, 0)):
            raise TimeoutError
        answers: queue.SimpleQueue[_Found | OSError] = queue.SimpleQueue()
        try:
            threading.Thread(
                target=self._ask, args=(origin, answers), name="mintmark-verifier-lookup", daemon=True
            ).start()
        except RuntimeError:
            # No thread can be started, or the interpreter is about to end.
            self._free.release()
            raise OSError from None
        try:
            answer = answers.get(timeout=max(seconds, 0))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(answer, OSError):
            raise answer
        return answer

    def _ask(self, origin: Origin, answers: "queue.SimpleQueue[_Found | OSError]") -> None:
        try:
            answers.put(socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            # A label that is empty or too long.
            answers.put(OSError())
        finally:
            self._free.release()


def _origin(parts: SplitResult) -> Origin | None:
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or host is None:
        return None
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    if "[" in parts.netloc:
        # Raises ValueError for what is none; scopes (%eth0) mean nothing to another machine.
        ipaddress.IPv6Address(host)
    elif not _HOST.fullmatch(host):
        return None
    return Origin(parts.scheme, host, port) if port > 0 and "%" not in host else None


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # ::ffff:127.0.0.1 and the like are left out: what they reach depends on the system.
    return address == ipaddress.IPv6Address("::1") or (address.version == 4 and address.is_loopback)
