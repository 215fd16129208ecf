"""Requests over real sockets: how long they may take."""

import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from tests.support.raw_http import Conversation, RawServer, answer, chunked, saying
from tests.unit.verifier.http_things import CHUNKED, END, UNTIL_CLOSED, authority, get, refuses, transport, trusting

from mintmark.verifier.http import HTTPTransport
from mintmark.verifier.ports import TransportError

__all__ = ["authority", "transport", "trusting"]


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
