"""Servers that say exactly what a test wants, octet by octet, and certificates made for them."""

import contextlib
import datetime as dt
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def answer(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """Pieces as chunks, without the last one that ends them."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


@dataclass
class Conversation:
    """One connection, as the server sees it."""

    number: int
    sock: socket.socket
    server: "RawServer"

    def request(self) -> bytes:
        """Wait for a whole request; empty once the client has gone."""
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self.sock.recv(65536)
            if not piece:
                return b""
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        while length and len(body) < int(length[1]):
            body += self.sock.recv(65536)
        whole = head + b"\r\n\r\n" + body
        self.server.requests.append((self.number, whole))
        return whole

    def say(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def drip(self, octets: bytes, seconds: float) -> None:
        """Send one octet after the other."""
        for octet in octets:
            self.say(bytes([octet]))
            if self.server.is_over.wait(seconds):
                return

    def wait_for_the_end(self) -> None:
        """Stay silent until the client has gone."""
        while self.sock.recv(65536):
            pass


@dataclass
class RawServer:
    """Listens on a free port of loopback; ``talk`` holds each conversation, on a thread of its own.

    Attributes:
        requests: Number of the connection, and octets, of every request.
        connections: How many were opened.
        ended: Set when a conversation has ended.
    """

    talk: Callable[[Conversation], None]
    tls: ssl.SSLContext | None = None
    requests: list[tuple[int, bytes]] = field(default_factory=list)
    connections: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def url(self, host: str = "127.0.0.1", path: str = "/") -> str:
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}{path}"

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while not self.is_over.is_set():
                sock, _ = self._listener.accept()
                self._open.append(sock)
                thread = threading.Thread(target=self._hold, args=(self.connections, sock))
                self.connections += 1
                self._threads.append(thread)
                thread.start()

    def _hold(self, number: int, sock: socket.socket) -> None:
        # Clients that go away are what these tests are about.
        with contextlib.suppress(OSError), sock:
            if self.tls is not None:
                raw, sock = sock, self.tls.wrap_socket(sock, server_side=True)
                self._open[self._open.index(raw)] = sock
            with sock:
                self.talk(Conversation(number, sock, self))
        self.ended.set()


@dataclass
class CertificateAuthority:
    """Makes certificates; ``file`` is its own."""

    directory: Path
    name: str = "authority"

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(self.name)
        self._certificate = (
            _builder(self._subject, self._subject, self._key, -1, 1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = str(self.directory / f"{self.name}.pem")
        Path(self.file).write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def server(self, *names: str, first_day: int = -1, last_day: int = 1) -> ssl.SSLContext:
        """The TLS side of a server with these names, valid from one day to another, today being 0."""
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(_name("server"), self._subject, key, first_day, last_day)
            .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self.directory / "server.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@contextlib.contextmanager
def saying(*answers: bytes, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """A server that gives these answers to the requests of each connection, one after the other, then closes it."""

    def talk(conversation: Conversation) -> None:
        for octets in answers:
            if not conversation.request():
                return
            conversation.say(octets)

    with RawServer(talk, tls) as server:
        yield server


@contextlib.contextmanager
def always_saying(octets: bytes, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """A server that gives the same answer to every request, and keeps its connections."""

    def talk(conversation: Conversation) -> None:
        while conversation.request():
            conversation.say(octets)

    with RawServer(talk, tls) as server:
        yield server


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, first_day: int, last_day: int
) -> x509.CertificateBuilder:
    today = dt.datetime.now(dt.UTC)  # noqa: TID251 - OpenSSL looks at the real time
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today + first_day * _DAY)
        .not_valid_after(today + last_day * _DAY)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
