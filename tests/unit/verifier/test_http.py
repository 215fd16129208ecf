"""Single requests over real sockets: what is believed, and where they go."""

import socket
import traceback
from typing import Any

import pytest
from tests.support.raw_http import Conversation, RawServer, always_saying, answer, chunked, saying
from tests.unit.verifier.http_things import CHUNKED, END, UNTIL_CLOSED, authority, get, refuses, transport, trusting

from mintmark.verifier.http import HTTPTransport
from mintmark.verifier.ports import TransportError

__all__ = ["authority", "transport", "trusting"]


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
