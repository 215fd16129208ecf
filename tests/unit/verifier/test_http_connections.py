"""Connections over real sockets: which are used again."""

import contextlib
import os
import threading

import pytest
from tests.support.raw_http import CertificateAuthority, Conversation, RawServer, always_saying, answer, chunked, saying
from tests.support.verifying import FakeClock, end_after
from tests.unit.verifier.http_things import CHUNKED, END, authority, get, refuses, transport, trusting

from mintmark.verifier.http import HTTPTransport

__all__ = ["authority", "transport", "trusting"]


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
