"""HTTP for the verifier on the standard library: strict about where it connects, bounded in time and size.

``http.client`` parses the answers: status line and header lines are bounded by it to 64 KiB each, header lines to 100.
Requests are written and connections are kept here, for its own connection class knows no deadline. No proxy is ever
used, whatever the environment says: a proxy would see, or be, the authority. Redirects are not followed.
"""

import contextlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from mintmark.verifier.addresses import Addresses, Origin, encode_request, split_url
from mintmark.verifier.connection import Connection, left
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock, Response, TransportError

_MAX_IDLE: Final = 8
# Load balancers forget idle connections without a word after minutes; asking on such a one costs a whole timeout.
_MAX_IDLE_SECONDS: Final = 30
_PIECE: Final = 65536

# OpenSSL's X509_V_ERR_*; everything else is a chain that ends in no authority we trust.
_CERTIFICATE_FAULTS: Final[Mapping[int, str]] = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    62: "the certificate is for another host",
    64: "the certificate is for another address",
}


class HTTPTransport:
    """The `Transport` of production. Thread-safe; a forked child starts without connections.

    Args:
        ca_file: PEM file of the authorities to trust instead of the system's.
        clock: Measures deadlines.

    Raises:
        OSError: ``ca_file`` cannot be read, or holds no certificate.
    """

    def __init__(self, *, ca_file: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        # The system's authorities take some 50 ms to read: nobody waits for them who never speaks TLS.
        self._context = None if ca_file is None else _trusting(ca_file)
        self._clock = clock
        self._mine = _PerProcess()

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
        """Ask, and return the whole answer; see `Transport.request`."""
        origin, target = split_url(url)
        octets = encode_request(method, origin, target, headers, body)
        deadline = self._clock.uptime() + timeout
        with _constant_texts():
            used = self._process().take(origin, self._clock.uptime())
            if used is not None:
                used.deadline = deadline
                try:
                    return self._exchange(used, method, octets, max_bytes)
                except OSError:
                    # If it was dead before our request came, another may be asked: if the time is not over, that is.
                    if used.has_heard:
                        raise
            return self._exchange(self._connect(origin, deadline), method, octets, max_bytes)

    @contextlib.contextmanager
    def stream(
        self, url: str, *, headers: Mapping[str, str], connect_timeout: float, read_timeout: float
    ) -> "Iterator[HTTPStream]":
        """Open a streaming GET; see `Transport.stream`. ``connect_timeout`` lasts until the headers are there."""
        origin, target = split_url(url)
        octets = encode_request("GET", origin, target, headers, None)
        with _constant_texts():
            connection = self._connect(origin, self._clock.uptime() + connect_timeout)
            with connection.closed_on_failure():
                opened = HTTPStream(connection, connection.ask("GET", octets), read_timeout)
        try:
            yield opened
        finally:
            opened.discard()

    def close(self) -> None:
        """Close the idle connections. The transport remains usable."""
        self._process().close()

    def _process(self) -> "_PerProcess":
        mine = self._mine
        if mine.pid != os.getpid():
            # The connections belong to the parent, and their lock may be held by a thread that does not exist here.
            self._mine = _PerProcess()
            mine.let_go()
        return self._mine

    def _connect(self, origin: Origin, deadline: float) -> Connection:
        sock = self._process().addresses.connect(origin, deadline, self._clock)
        try:
            # What the peer says at once must not wait for more of it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.scheme == "https":
                self._context = self._context or _trusting(None)
                sock.settimeout(left(self._clock, deadline))
                # A body that ends with the connection is whole only if the peer said so (RFC 9112 §9.8).
                sock = self._context.wrap_socket(sock, server_hostname=origin.host, suppress_ragged_eofs=False)
        except BaseException:
            sock.close()
            raise
        return Connection(sock, origin, deadline, self._clock)

    def _exchange(self, connection: Connection, method: str, octets: bytes, max_bytes: int) -> Response:
        with connection.closed_on_failure():
            response = connection.ask(method, octets)
            body = _whole_body(response, max_bytes)
        # Both framings at once are one too many to trust what follows (RFC 9112 §6.3).
        is_ambiguous = response.chunked and "content-length" in response.headers
        if response.will_close or is_ambiguous:
            connection.close()
        else:
            self._process().give_back(connection, self._clock.uptime())
        return Response(response.status, _plain_headers(response), body)


class HTTPStream:
    """The `Stream` of `HTTPTransport`.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
    """

    def __init__(self, connection: Connection, response: http.client.HTTPResponse, read_timeout: float) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = _plain_headers(response)
        self._connection = connection
        self._response = response
        self._read_timeout = read_timeout
        self._is_closed = False
        # The descriptor must not be closed under a thread that reads from it: its number might be another's by then.
        self._reading = threading.Lock()

    def read(self) -> bytes:
        """Return what has arrived; see `Stream.read`."""
        with self._reading:
            self._refuse_if_closed()
            try:
                with _constant_texts():
                    self._connection.postpone(self._read_timeout)
                    return _next_piece(self._response, _PIECE)
            finally:
                # Whatever it looks like, also the end of the body, may be our own doing.
                self._refuse_if_closed()

    def close(self) -> None:
        """End it, from any thread."""
        self._is_closed = True
        self._connection.interrupt()

    def discard(self) -> None:
        """End it and free the connection."""
        self.close()
        if self._connection.is_ours():
            with self._reading:
                self._connection.close()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise TransportError("the stream is closed")


class _PerProcess:
    """What must not outlive a fork: idle connections and name look-ups, with their locks."""

    def __init__(self) -> None:
        self.pid: Final = os.getpid()
        self.addresses: Final = Addresses()
        # Reentrant: a verifier that is collected as garbage closes its transport, perhaps in the middle of this.
        self._lock = threading.RLock()
        self._idle: list[Connection] = []

    def take(self, origin: Origin, now: float) -> Connection | None:
        """Return the connection to ``origin`` that was used last and still lives; close those that waited too long."""
        with self._lock:
            old = [one for one in self._idle if now - one.idle_since > _MAX_IDLE_SECONDS]
            self._idle = [one for one in self._idle if one not in old]
            for connection in old:
                connection.close()
            for connection in reversed([one for one in self._idle if one.origin == origin]):
                self._idle.remove(connection)
                if connection.is_quiet():
                    return connection
                connection.close()
        return None

    def give_back(self, connection: Connection, now: float) -> None:
        """Keep a connection whose answer was read to its end."""
        connection.idle_since = now
        with self._lock:
            self._idle.append(connection)
            if len(self._idle) > _MAX_IDLE:
                self._idle.pop(0).close()

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            self.let_go()

    def let_go(self) -> None:
        """Close all of them, in a child where nobody else can use them."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _whole_body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    body = bytearray()
    # One octet more than allowed tells that there is more than allowed; what was announced is not waited for.
    while (response.length or 0) <= max_bytes - len(body):
        piece = _next_piece(response, min(_PIECE, max_bytes + 1 - len(body)))
        body += piece
        if not piece:
            response.close()
            return bytes(body)
    raise TransportError("the answer is longer than allowed")


def _next_piece(response: http.client.HTTPResponse, size: int) -> bytes:
    piece = response.read1(size)
    if not piece and response.length:
        raise http.client.IncompleteRead(b"")
    return piece


def _plain_headers(response: http.client.HTTPResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        # A folded line is one line (RFC 9112 §5.2); repeated names are one list (RFC 9110 §5.3).
        line = " ".join(part.strip() for part in value.splitlines())
        known = headers.get(name.lower())
        headers[name.lower()] = line if known is None else f"{known}, {line}"
    return headers


def _trusting(ca_file: str | None) -> ssl.SSLContext:
    """Return what connections are made with; without ``ca_file``, the system's authorities are trusted."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextlib.contextmanager
def _constant_texts() -> Iterator[None]:
    """Tell every failure in words of our own: those of the others may quote what was sent or received."""
    try:
        yield
    except TimeoutError:
        raise TransportError("no answer in time") from None
    except ssl.SSLCertVerificationError as error:
        text = _CERTIFICATE_FAULTS.get(error.verify_code, "the certificate is from no authority we trust")
        raise TransportError(text) from None
    except ssl.SSLEOFError:
        raise TransportError("the connection broke") from None
    except ssl.SSLError:
        raise TransportError("TLS failed") from None
    except http.client.IncompleteRead:
        raise TransportError("the answer ended early") from None
    except OSError:
        raise TransportError("the connection broke or could not be made") from None
    except (http.client.HTTPException, ValueError):
        raise TransportError("what came back is not HTTP") from None
