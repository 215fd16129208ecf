"""Streams over real sockets: what arrives is there at once, silence ends, and whoever wants to end it can."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest
from tests.support.raw_http import CertificateAuthority, Conversation, RawServer, answer, chunked, saying

from mintmark.verifier.http import HTTPStream, HTTPTransport
from mintmark.verifier.ports import TransportError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def transport(authority: CertificateAuthority) -> Iterator[HTTPTransport]:
    transport = HTTPTransport(ca_file=authority.file)
    yield transport
    transport.close()


def opened(
    transport: HTTPTransport, url: str, *, connect_timeout: float = 20, read_timeout: float = 20
) -> contextlib.AbstractContextManager[HTTPStream]:
    return transport.stream(
        url, headers={"accept": "text/event-stream"}, connect_timeout=connect_timeout, read_timeout=read_timeout
    )


def silent_after(octets: bytes) -> RawServer:
    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(octets)
        conversation.wait_for_the_end()

    return RawServer(talk)


def test_what_has_arrived_is_returned_before_more_comes(transport: HTTPTransport) -> None:
    go_on = threading.Event()

    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(HEAD + chunked(b"first"))
        assert go_on.wait(20)
        conversation.say(chunked(b"second") + END)
        conversation.wait_for_the_end()

    with RawServer(talk) as server, opened(transport, server.url()) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.read() == b"first"
        go_on.set()
        assert stream.read() == b"second"
        assert stream.read() == b""
        assert stream.read() == b""
        assert b"accept: text/event-stream\r\n" in server.requests[0][1]


def test_half_of_a_chunk_is_returned_too(transport: HTTPTransport) -> None:
    with silent_after(HEAD + b"5\r\n12") as server, opened(transport, server.url()) as stream:
        assert stream.read() == b"12"


@pytest.mark.parametrize("octets", [answer(b"12345"), b"HTTP/1.1 200 OK\r\n\r\n12345"])
def test_other_framings_end_as_they_should(transport: HTTPTransport, octets: bytes) -> None:
    with saying(octets) as server, opened(transport, server.url()) as stream:
        got = b""
        while piece := stream.read():
            got += piece
        assert got == b"12345"


def test_any_status_is_for_the_caller_to_judge(transport: HTTPTransport) -> None:
    with saying(answer(b"", "Location: /", status="302 There")) as server:
        with opened(transport, server.url()) as stream:
            assert stream.status == 302
        assert len(server.requests) == 1


@pytest.mark.parametrize("octets", [
    HEAD, HEAD + b"5\r\n", HEAD + chunked(b"first"), HEAD + b"zz\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234",
])  # fmt: skip
def test_a_stream_that_breaks_is_an_error_not_an_end(transport: HTTPTransport, octets: bytes) -> None:
    with (
        saying(octets) as server,
        opened(transport, server.url()) as stream,
        pytest.raises(TransportError, match="ended early"),
    ):
        list(iter(stream.read, b""))


def test_silence_ends_in_an_error(transport: HTTPTransport) -> None:
    with silent_after(HEAD + chunked(b"first")) as server, opened(transport, server.url(), read_timeout=0.3) as stream:
        assert stream.read() == b"first"
        began = time.monotonic()
        with pytest.raises(TransportError, match="no answer in time"):
            stream.read()
        assert 0.2 < time.monotonic() - began < 5


def test_what_is_not_content_does_not_break_the_silence(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(HEAD)
        conversation.drip(b"5;" + b"x" * 1000, 0.05)

    with (
        RawServer(talk) as server,
        opened(transport, server.url(), read_timeout=0.5) as stream,
        pytest.raises(TransportError, match="no answer in time"),
    ):
        stream.read()


def test_each_read_has_the_whole_time(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        conversation.request()
        conversation.say(HEAD)
        for _ in range(6):
            conversation.server.is_over.wait(0.2)
            conversation.say(chunked(b"beat"))
        conversation.say(END)

    # All of it takes longer than one silence may.
    with RawServer(talk) as server, opened(transport, server.url(), read_timeout=1) as stream:
        assert [stream.read() for _ in range(7)] == [b"beat"] * 6 + [b""]


@pytest.mark.parametrize("octets", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_it_has_to_open_in_time(transport: HTTPTransport, octets: bytes) -> None:
    with silent_after(octets) as server:
        with (
            pytest.raises(TransportError, match="no answer in time"),
            opened(transport, server.url(), connect_timeout=0.3),
        ):
            pass
        assert server.ended.wait(20)


@pytest.mark.parametrize("url", ["http://auth.example/", "https://u:p@127.0.0.1/", "nothing"])
def test_where_it_may_go_is_as_for_requests(transport: HTTPTransport, url: str) -> None:
    with pytest.raises(TransportError), opened(transport, url):
        pass


@pytest.mark.parametrize("is_tls", [False, True])
def test_closing_from_another_thread_ends_a_read_under_way(
    authority: CertificateAuthority, transport: HTTPTransport, *, is_tls: bool
) -> None:
    server = silent_after(HEAD + chunked(b"first"))
    server.tls = authority.server("localhost") if is_tls else None
    outcomes: list[object] = []
    is_reading = threading.Event()

    def read_on() -> None:
        is_reading.set()
        try:
            outcomes.append(stream.read())
        except TransportError as error:
            outcomes.append(str(error))

    with server, opened(transport, server.url("localhost"), read_timeout=60) as stream:
        assert stream.read() == b"first"
        reader = threading.Thread(target=read_on)
        reader.start()
        assert is_reading.wait(20)
        # Let it reach the system call; it must end either way.
        reader.join(0.2)
        began = time.monotonic()
        stream.close()
        reader.join(20)
        assert time.monotonic() - began < 5
        assert outcomes == ["the stream is closed"]
        with pytest.raises(TransportError, match="closed"):
            stream.read()


def test_closing_is_no_end_of_the_body(transport: HTTPTransport) -> None:
    """Where the body lasts until the connection ends, ours must not be taken for theirs."""
    with silent_after(b"HTTP/1.1 200 OK\r\n\r\nfirst") as server, opened(transport, server.url()) as stream:
        assert stream.read() == b"first"
        closing = threading.Timer(0.2, stream.close)
        closing.start()
        with pytest.raises(TransportError, match="closed"):
            stream.read()
        closing.join()


def test_leaving_the_block_ends_the_connection_whatever_happened(transport: HTTPTransport) -> None:
    with silent_after(HEAD) as server:
        with pytest.raises(LookupError), opened(transport, server.url()) as stream:
            raise LookupError
        assert server.ended.wait(20)
        stream.close()
        with pytest.raises(TransportError, match="closed"):
            stream.read()


def test_a_stream_does_not_use_connections_of_requests_nor_give_it_to_them(transport: HTTPTransport) -> None:
    def talk(conversation: Conversation) -> None:
        while conversation.request():
            conversation.say(answer(b"x"))

    with RawServer(talk) as server:
        for _ in range(2):
            transport.request("GET", server.url(), headers={}, timeout=20, max_bytes=10)
            with opened(transport, server.url()) as stream:
                assert stream.read() == b"x"
                assert stream.read() == b""
        assert [number for number, _ in server.requests] == [0, 1, 0, 2]
