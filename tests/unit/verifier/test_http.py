"""Single requests over real sockets: where they go, what is believed, how long it may take."""

import contextlib
import os
import socket
import ssl
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.raw_http import CertificateAuthority, Conversation, RawServer, always_saying, answer, chunked, saying
from tests.support.verifying import FakeClock, end_after

from mintmark.verifier.http import HTTPTransport
from mintmark.verifier.ports import Response, TransportError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"
END = b"0\r\n\r\n"


@pytest.fixture
def transport() -> Iterator[HTTPTransport]:
    transport = HTTPTransport()
    yield transport
    transport.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusting(authority: CertificateAuthority) -> Iterator[HTTPTransport]:
    """A transport that trusts the authority made for the tests."""
    transport = HTTPTransport(ca_file=authority.file)
    yield transport
    transport.close()


def get(transport: HTTPTransport, url: str, *, timeout: float = 20, max_bytes: int = 1000, **headers: str) -> Response:
    return transport.request("GET", url, headers=headers, timeout=timeout, max_bytes=max_bytes)


def refuses(transport: HTTPTransport, url: str, **options: Any) -> str:
    with pytest.raises(TransportError) as caught:
        get(transport, url, **options)
    return str(caught.value)


# Requests and answers


def test_a_request_is_written_as_it_should_be_and_its_answer_is_read(transport: HTTPTransport) -> None:
    with saying(
        answer(b"body", "X-One: 1", "x-many: a", "X-Many: b", "X-Folded: c\r\n  d", status="201 Made")
    ) as server:
        response = get(transport, server.url(path="/a/b?c=d%20e"), accept="application/json")
        assert response.status == 201
        assert response.body == b"body"
        assert response.headers == {"content-length": "4", "x-one": "1", "x-many": "a, b", "x-folded": "c d"}
        assert server.requests[0][1].split(b"\r\n") == [
            b"GET /a/b?c=d%20e HTTP/1.1",
            b"Host: 127.0.0.1:%d" % server.port,
            b"Accept-Encoding: identity",
            b"accept: application/json",
            b"",
            b"",
        ]


def test_a_body_is_posted_with_its_length(transport: HTTPTransport) -> None:
    with saying(answer()) as server:
        url = server.url(path="")
        transport.request("POST", url, headers={}, body=b"a=b&c=d", timeout=20, max_bytes=0)
        assert server.requests[0][1].startswith(b"POST / HTTP/1.1\r\n")
        assert server.requests[0][1].endswith(b"\r\nContent-Length: 7\r\n\r\na=b&c=d")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_returned_not_followed(transport: HTTPTransport, status: int) -> None:
    with saying() as elsewhere, saying(answer(b"", f"Location: {elsewhere.url()}", status=f"{status} There")) as server:
        assert get(transport, server.url()).status == status
        assert len(server.requests) == 1
        assert elsewhere.connections == 0


def test_proxies_of_the_environment_are_not_used(transport: HTTPTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with saying() as proxy, saying(answer(b"direct")) as server:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
            monkeypatch.setenv(name.upper(), proxy.url())
        assert get(transport, server.url()).body == b"direct"
        assert proxy.connections == 0


@pytest.mark.parametrize("octets", [
    answer(b"12345"),
    CHUNKED + chunked(b"1", b"234", b"5") + END,
    CHUNKED + b"5;name=value\r\n12345\r\n0\r\nTrailer: x\r\n\r\n",
    UNTIL_CLOSED + b"12345",
    b"HTTP/1.0 200 OK\r\n\r\n12345",
    b"HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n12345",
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"12345"),
])  # fmt: skip
def test_every_framing_is_understood_up_to_the_limit_and_not_beyond(transport: HTTPTransport, octets: bytes) -> None:
    with saying(octets) as server:
        assert get(transport, server.url(), max_bytes=5).body == b"12345"
        assert refuses(transport, server.url(), max_bytes=4) == "the answer is longer than allowed"


def test_an_announced_excess_is_not_waited_for(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")
        conversation.wait_for_the_end()

    with RawServer(talk) as server:
        assert refuses(transport, server.url()) == "the answer is longer than allowed"


def test_a_body_without_end_is_left_at_the_limit(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(CHUNKED)
        while not conversation.server.is_over.is_set():
            conversation.say(chunked(b"x" * 10_000))

    with RawServer(talk) as server:
        assert refuses(transport, server.url(), max_bytes=100_000) == "the answer is longer than allowed"
        assert server.ended.wait(20)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_are_whole(transport: HTTPTransport, status: int) -> None:
    with always_saying(b"HTTP/1.1 %d X\r\nETag: x\r\n\r\n" % status) as server:
        assert [get(transport, server.url()).status for _ in range(2)] == [status, status]
        assert server.connections == 1


@pytest.mark.parametrize("octets", [
    b"",
    b"\r\n\r\n",
    b"garbage\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 99 X\r\n\r\n",
    b"HTTP/1.1 1000 X\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"late"),
    b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: " + b"x" * 70_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 101 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n1",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n1",
    b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n1",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n1234567890",
    b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n12",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n1",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n1",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234",
    UNTIL_CLOSED[:-2],
    CHUNKED + b"zz\r\n",
    CHUNKED + b"-5\r\n12345\r\n0\r\n\r\n",
    CHUNKED + b"5\r\n1234",
    CHUNKED + b"5\r\n12345\r\n",
    CHUNKED + b"f" * 70_000 + b"\r\n",
])  # fmt: skip
@pytest.mark.spec("S07", "RFC 9112 §6.3")
def test_what_is_no_whole_answer_is_refused(transport: HTTPTransport, octets: bytes) -> None:
    with saying(octets) as server:
        assert refuses(transport, server.url()) in {
            "what came back is not HTTP",
            "the answer ended early",
            "the connection broke or could not be made",
        }
        # Whose answer did not begin is not asked twice either, for the connection was new.
        assert len(server.requests) == 1


@pytest.mark.spec("S07")
def test_failures_quote_nothing_that_was_sent_or_received(transport: HTTPTransport) -> None:
    with saying(b"hush-received\r\n\r\n") as server:
        with pytest.raises(TransportError) as caught:
            get(transport, server.url(path="/?hush-url"), authorization="hush-header")
        told = "".join(traceback.format_exception(caught.value))
        # The line of this test that made the request is part of the traceback.
        assert "hush-received" not in told
        assert f":{server.port}" not in told


def test_nobody_listening_is_a_failure(transport: HTTPTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert refuses(transport, f"http://127.0.0.1:{port}/") == "the connection broke or could not be made"


# Where it connects


@pytest.mark.spec("S07")
@pytest.mark.parametrize("url", [
    "",
    "auth.example",
    "//auth.example/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "https:///path",
    "https://user@127.0.0.1/",
    "https://user:secret@127.0.0.1/",
    "http://localhost\\@evil.example/",
    "https://127.0.0.1/#fragment",
    "https://127.0.0.1:0/",
    "https://127.0.0.1:65536/",
    "https://127.0.0.1:x/",
    "https://127.0.0.1/a b",
    "https://127.0.0.1/a\r\nX: y",
    "https://127.0.0.1/\n",
    "\thttps://127.0.0.1/",
    "https://127.0.0.1\r\n/",
    "https://127.0.0.1/é",
    "https://bücher.example/",
    "https://a,b.example/",
    "https://-.example/",
    "http://localhost./",
    "https://::1/",
    "https://[127.0.0.1]/",
    "https://[localhost]/",
    "https://[::1/",
    "https://[fe80::1%25eth0]/",
    "https://[v1.x]/",
])  # fmt: skip
def test_urls_that_are_not_in_order_are_refused(transport: HTTPTransport, url: str) -> None:
    assert refuses(transport, url) == "not a URL that may be asked"


@pytest.mark.parametrize("host", [
    "auth.example", "192.0.2.1", "10.0.0.1", "0.0.0.0", "126.255.255.255", "128.0.0.1", "a.localhost",
    "127.1", "0x7f.0.0.1", "2130706433", "[::]", "[::2]", "[::ffff:127.0.0.1]", "[2001:db8::1]",
])  # fmt: skip
def test_without_tls_it_speaks_only_to_this_machine(
    transport: HTTPTransport, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert refuses(transport, f"http://{host}/") == "http is for loopback only; use https"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "127.1.2.3"])
def test_without_tls_it_speaks_to_this_machine(transport: HTTPTransport, host: str) -> None:
    with saying(answer(b"here")) as server:
        if host == "127.1.2.3":
            # Nobody listens there, but it may be asked.
            assert refuses(transport, server.url(host)) == "the connection broke or could not be made"
        else:
            assert get(transport, server.url(host)).body == b"here"


@pytest.mark.parametrize("others", [["192.0.2.1"], ["127.0.0.1", "192.0.2.1"]])
def test_a_localhost_that_is_another_machine_is_not_spoken_to(
    transport: HTTPTransport, others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(_host: str, port: int, **_options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in others]

    with saying(answer()) as server:
        monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
        assert refuses(transport, server.url("localhost")) == "http is for loopback only; use https"
        assert server.connections == 0


def test_a_name_that_does_not_exist_is_a_failure(transport: HTTPTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: Any, **_options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert refuses(transport, "https://auth.example/") == "the connection broke or could not be made"
    monkeypatch.undo()
    assert refuses(transport, f"https://{'x' * 64}.example/") == "the connection broke or could not be made"


@pytest.mark.parametrize("headers", [
    {"a": "b\r\nc: d"}, {"a": "b\n"}, {"a": "b\0"}, {"a": "é"}, {"a\r\nb": "c"}, {"a b": "c"}, {"a:": "b"}, {"": "b"},
    {"Host": "evil.example"}, {"Content-Length": "0"}, {"transfer-encoding": "chunked"}, {"accept-encoding": "gzip"},
])  # fmt: skip
def test_headers_that_would_change_the_request_are_refused(transport: HTTPTransport, headers: dict[str, str]) -> None:
    with saying(answer()) as server:
        assert refuses(transport, server.url(), **headers) == "a header cannot be sent"
        assert server.connections == 0


# Time


def dripping(octets: bytes) -> RawServer:
    """A server whose answer never pauses for long, and never ends in time."""

    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.drip(octets, 0.05)

    return RawServer(talk)


@pytest.mark.slow
@pytest.mark.parametrize("octets", [
    b"HTTP/1.1 200 " + b"x" * 1000,
    b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 90,
    b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b"x" * 999,
    UNTIL_CLOSED + b"x" * 999,
    CHUNKED + chunked(*[b"x"] * 200),
    CHUNKED + END[:-2] + b"trailer: x\r\n" * 100,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 40,
])  # fmt: skip
def test_an_answer_that_drips_ends_at_the_deadline(transport: HTTPTransport, octets: bytes) -> None:
    with dripping(octets) as server:
        began = time.monotonic()
        assert refuses(transport, server.url(), timeout=0.5) == "no answer in time"
        assert 0.4 < time.monotonic() - began < 5


def test_silence_ends_at_the_deadline(transport: HTTPTransport) -> None:
    with RawServer(Conversation.wait_for_the_end) as server:
        assert refuses(transport, server.url(), timeout=0.3) == "no answer in time"


def test_a_tls_handshake_that_does_not_go_on_ends_at_the_deadline(trusting: HTTPTransport) -> None:
    with RawServer(Conversation.wait_for_the_end) as server:
        assert refuses(trusting, f"https://127.0.0.1:{server.port}/", timeout=0.3) == "no answer in time"


def test_a_server_that_does_not_read_ends_at_the_deadline(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.server.is_over.wait(60)

    with RawServer(talk) as server, pytest.raises(TransportError, match="no answer in time"):
        transport.request("POST", server.url(), headers={}, body=b"x" * 50_000_000, timeout=0.5, max_bytes=0)


def test_a_server_that_reads_slowly_ends_at_the_deadline(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        # Each piece is taken soon; all of them would take six seconds.
        while conversation.sock.recv(1_000_000) and not conversation.server.is_over.wait(0.1):
            pass

    with RawServer(talk) as server:
        began = time.monotonic()
        with pytest.raises(TransportError, match="no answer in time"):
            transport.request("POST", server.url(), headers={}, body=b"x" * 60_000_000, timeout=0.5, max_bytes=0)
        assert time.monotonic() - began < 4


def test_no_time_at_all_is_too_little(transport: HTTPTransport) -> None:
    with saying(answer()) as server:
        assert refuses(transport, server.url(), timeout=0) == "no answer in time"
        assert refuses(transport, server.url("localhost"), timeout=-1) == "no answer in time"


def test_a_name_server_that_does_not_answer_costs_no_more_than_the_deadline_and_few_threads(
    transport: HTTPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def hanging(*_arguments: Any, **_options: Any) -> list[Any]:
        go.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    for _ in range(12):
        assert refuses(transport, "https://auth.example/", timeout=0.05) == "no answer in time"
    looking = [thread for thread in threading.enumerate() if thread.name == "mintmark-verifier-lookup"]
    assert len(looking) == 8
    go.set()
    for thread in looking:
        thread.join()
    assert refuses(transport, "https://auth.example/") == "the connection broke or could not be made"


def test_where_no_thread_can_be_started_nothing_hangs(
    transport: HTTPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(9):
        assert refuses(transport, "https://auth.example/") == "the connection broke or could not be made"


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    transport: HTTPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A full backlog: the system answers no further connection.
    with socket.socket() as full, saying(answer(b"second")) as server, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.2", server.port))
        full.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", server.port))
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port)) for host in ("127.0.0.2", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        assert get(transport, server.url("localhost"), timeout=2).body == b"second"


# TLS


def test_tls_is_spoken_with_whom_the_authority_vouches_for(
    authority: CertificateAuthority, trusting: HTTPTransport
) -> None:
    with always_saying(answer(b"hello"), authority.server("localhost", "127.0.0.1")) as server:
        assert get(trusting, server.url("localhost")).body == b"hello"
        assert get(trusting, server.url("127.0.0.1")).body == b"hello"
        assert get(trusting, server.url("127.0.0.1")).body == b"hello"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("names", "first_day", "last_day", "text"),
    [
        (["auth.example", "127.0.0.1"], -1, 1, "the certificate is for another host"),
        (["*.localhost"], -1, 1, "the certificate is for another host"),
        (["localhost"], -2, -1, "the certificate has expired"),
        (["localhost"], 1, 2, "the certificate is not valid yet"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(
    authority: CertificateAuthority, trusting: HTTPTransport, names: list[str], first_day: int, last_day: int, text: str
) -> None:
    with always_saying(answer(), authority.server(*names, first_day=first_day, last_day=last_day)) as server:
        assert refuses(trusting, server.url("localhost")) == text
        assert server.requests == []


def test_a_certificate_for_another_address_is_refused(authority: CertificateAuthority, trusting: HTTPTransport) -> None:
    with always_saying(answer(), authority.server("localhost", "127.0.0.2")) as server:
        assert refuses(trusting, server.url("127.0.0.1")) == "the certificate is for another address"


def test_an_unknown_authority_is_refused(tmp_path: Path, trusting: HTTPTransport, transport: HTTPTransport) -> None:
    other = CertificateAuthority(tmp_path, "other")
    with always_saying(answer(), other.server("localhost")) as server:
        for one in (trusting, transport):
            assert refuses(one, server.url("localhost")) == "the certificate is from no authority we trust"
        assert server.requests == []


def test_tls_before_1_2_is_refused(authority: CertificateAuthority, trusting: HTTPTransport) -> None:
    old = authority.server("localhost")
    old.set_ciphers("ALL:@SECLEVEL=0")
    # What the client would do is what is asked here; its own library would refuse as well, at its default level.
    trusting._context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with always_saying(answer(), old) as server:
        assert refuses(trusting, server.url("localhost")) in {"TLS failed", "the connection broke"}
        assert server.requests == []


def test_a_server_that_speaks_no_tls_is_refused(trusting: HTTPTransport) -> None:
    with RawServer(lambda conversation: conversation.say(answer(b"plain"))) as server:
        assert refuses(trusting, f"https://127.0.0.1:{server.port}/") in {
            "TLS failed",
            "the connection broke or could not be made",
        }


@pytest.mark.spec("RFC 9112 §9.8")
def test_a_body_that_ends_with_the_connection_is_whole_only_if_tls_says_so(
    authority: CertificateAuthority, trusting: HTTPTransport
) -> None:
    def talk(conversation: Conversation) -> None:
        is_polite = b"polite" in conversation.request()
        conversation.say(UNTIL_CLOSED + b"half of a ")
        if is_polite and isinstance(conversation.sock, ssl.SSLSocket):
            conversation.sock.unwrap()

    with RawServer(talk, authority.server("localhost")) as server:
        assert get(trusting, server.url("localhost", "/polite")).body == b"half of a "
        assert refuses(trusting, server.url("localhost", "/rude")) == "the connection broke"


def test_a_file_without_certificates_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        HTTPTransport(ca_file=str(tmp_path / "none.pem"))
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        HTTPTransport(ca_file=str(tmp_path / "empty.pem"))


# Keeping connections


def test_connections_are_used_again(transport: HTTPTransport) -> None:
    with always_saying(CHUNKED + chunked(b"x") + END) as server, always_saying(answer(b"y")) as other:
        for _ in range(3):
            assert get(transport, server.url()).body == b"x"
            assert get(transport, other.url()).body == b"y"
        assert (server.connections, other.connections) == (1, 1)


@pytest.mark.parametrize("octets", [
    answer(b"x", "Connection: close"),
    answer(b"x").replace(b"HTTP/1.1", b"HTTP/1.0"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n1\r\nx\r\n0\r\n\r\n",
])  # fmt: skip
def test_connections_that_are_to_end_or_are_ambiguous_are_not_used_again(
    transport: HTTPTransport, octets: bytes
) -> None:
    with always_saying(octets) as server:
        for _ in range(2):
            assert get(transport, server.url()).body == b"x"
        assert server.connections == 2


def test_a_connection_that_failed_is_not_used_again(transport: HTTPTransport) -> None:
    with always_saying(answer(b"12345")) as server:
        refuses(transport, server.url(), max_bytes=4)
        assert get(transport, server.url()).body == b"12345"
        assert server.connections == 2


def test_a_connection_that_waited_too_long_is_not_used_again() -> None:
    clock = FakeClock()
    transport = HTTPTransport(clock=clock)
    with always_saying(answer()) as server:
        get(transport, server.url())
        clock.advance(30)
        get(transport, server.url())
        assert server.connections == 1
        clock.advance(30.1)
        get(transport, server.url())
        assert server.connections == 2
        assert len(transport._mine._idle) == 1
    transport.close()


def test_what_nobody_asked_for_is_no_answer_to_the_next_request(transport: HTTPTransport) -> None:
    said = threading.Event()

    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer(b"asked"))
        if conversation.number == 0:
            said.wait(20)
            conversation.say(answer(b"not asked"))
        conversation.server.ended.set()
        conversation.wait_for_the_end()

    with RawServer(talk) as server:
        assert get(transport, server.url()).body == b"asked"
        said.set()
        assert server.ended.wait(20)
        assert get(transport, server.url()).body == b"asked"
        assert server.connections == 2


def test_a_connection_that_was_closed_meanwhile_is_not_used(transport: HTTPTransport) -> None:
    with saying(answer(b"x")) as server:
        get(transport, server.url())
        assert server.ended.wait(20)
        assert get(transport, server.url()).body == b"x"
        assert len(server.requests) == 2


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_connection_that_dies_under_the_request_is_replaced_once(
    authority: CertificateAuthority, trusting: HTTPTransport, *, is_tls: bool
) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer(b"x"))
        # The second request is read, and never answered.
        conversation.request()

    with RawServer(talk, authority.server("localhost") if is_tls else None) as server:
        assert get(trusting, server.url("localhost")).body == b"x"
        assert get(trusting, server.url("localhost")).body == b"x"
        assert [number for number, _ in server.requests] == [0, 0, 1]


def test_it_is_replaced_only_once(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        if conversation.request() and conversation.number == 0:
            conversation.say(answer(b"x"))
            conversation.request()

    with RawServer(talk) as server:
        get(transport, server.url())
        refuses(transport, server.url())
        assert [number for number, _ in server.requests] == [0, 0, 1]


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("beginning", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1"])
def test_a_request_whose_answer_had_begun_is_not_repeated(
    authority: CertificateAuthority, trusting: HTTPTransport, beginning: bytes, *, is_tls: bool
) -> None:
    tls = authority.server("localhost") if is_tls else None
    with saying(answer(b"x"), beginning, tls=tls) as server:
        get(trusting, server.url("localhost"))
        refuses(trusting, server.url("localhost"))
        assert [number for number, _ in server.requests] == [0, 0]


def test_a_request_that_ran_out_of_time_is_not_repeated(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(answer(b"x"))
        conversation.wait_for_the_end()

    with RawServer(talk) as server:
        get(transport, server.url())
        assert refuses(transport, server.url(), timeout=0.3) == "no answer in time"
        assert server.connections == 1


def test_many_threads_get_their_own_answers_and_few_connections_stay(transport: HTTPTransport) -> None:
    together = threading.Barrier(16)

    def talk(conversation: Conversation) -> None:
        while request := conversation.request():
            conversation.say(answer(request.split(b" ")[1]))

    wrong: list[tuple[str, bytes]] = []

    def ask(number: int, url: str) -> None:
        for turn in range(20):
            if turn == 0:
                together.wait(20)
            path = f"/{number}/{turn}"
            body = get(transport, url + path).body
            if body != path.encode():
                wrong.append((path, body))

    with RawServer(talk) as server:
        url = server.url(path="")
        threads = [threading.Thread(target=ask, args=(number, url)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert len(server.requests) == 320
        assert len(transport._mine._idle) <= 8


def test_no_more_than_eight_connections_wait(transport: HTTPTransport) -> None:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(always_saying(answer())) for _ in range(9)]
        for server in [*servers, *servers[1:]]:
            get(transport, server.url())
        assert [server.connections for server in servers] == [1] * 9
        get(transport, servers[0].url())
        assert servers[0].connections == 2


def test_close_ends_the_idle_connections_only(transport: HTTPTransport) -> None:
    with always_saying(answer()) as server:
        get(transport, server.url())
        transport.close()
        assert server.ended.wait(20)
        get(transport, server.url())
        assert server.connections == 2


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_forked_child_uses_connections_of_its_own_and_leaves_the_parents_alone(
    authority: CertificateAuthority, trusting: HTTPTransport, *, is_tls: bool
) -> None:
    with always_saying(answer(b"x"), authority.server("localhost") if is_tls else None) as server:
        url = server.url("localhost")
        get(trusting, url)
        # Another thread may hold it just then.
        trusting._mine._lock.acquire()
        child = os.fork()
        if child == 0:
            end_after(30)
            try:
                is_fine = get(trusting, url).body == b"x"
            except BaseException:  # noqa: BLE001
                is_fine = False
            os._exit(0 if is_fine else 1)
        trusting._mine._lock.release()
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert get(trusting, url).body == b"x"
        assert [number for number, _ in server.requests] == [0, 1, 0]
