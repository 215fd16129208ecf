"""What nginx and HAProxy send to nodes, with their files under ``deploy/authority/``, and what they send again."""

import socket
import time
from pathlib import Path

import pytest
from tests.support.fronts import front
from tests.support.raw_http import Conversation, RawServer, answer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KINDS = ("nginx", "haproxy")
TOKEN = "/api/v2/auth/token"


class Nodes:
    """What stands in for two nodes, to see what a front sends."""

    def __init__(self, readiness: bytes, otherwise: bytes | None) -> None:
        """Answer the probe, and everything else; ``None`` to hang up instead."""

        def talk(conversation: Conversation) -> None:
            while request := conversation.request():
                said = readiness if request.startswith(b"GET /readyz ") else otherwise
                if said is None:
                    return
                conversation.say(said)

        self._servers = RawServer(talk), RawServer(talk)

    def __enter__(self) -> tuple[RawServer, RawServer]:
        for server in self._servers:
            server.__enter__()
        return self._servers

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.__exit__(None, None, None)


def asked(servers: tuple[RawServer, ...], what: bytes) -> int:
    return sum(request.startswith(what) for server in servers for _, request in server.requests)


READY, AWAY, FINE = answer(b"{}"), answer(b"{}", status="503 Service Unavailable"), answer(b"fine")


@pytest.mark.spec("RFC 9110 §9.2.2")
@pytest.mark.parametrize("kind", KINDS)
def test_a_post_whose_answer_was_lost_is_not_sent_again(kind: str, tmp_path: Path) -> None:
    with Nodes(READY, None) as nodes, front(kind, tmp_path, (nodes[0].port, nodes[1].port)) as proxy:
        for count in (1, 2, 3):
            lost = proxy.ask("POST", TOKEN, form={"grant_type": "authorization_code", "code": "c"})
            assert asked(nodes, b"POST") == count
            assert lost.status in {502, 503}
            assert (lost.json["error"], lost.headers["retry-after"]) == ("temporarily_unavailable", "1")
            assert (lost.headers["content-type"], lost.headers["cache-control"]) == ("application/json", "no-store")
    with Nodes(READY, None) as nodes, front(kind, tmp_path, (nodes[0].port, nodes[1].port)) as proxy:
        assert proxy.ask("GET", "/.well-known/jwks.json").status in {502, 503}
        assert all(asked((node,), b"GET /.well-known") for node in nodes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_post_goes_to_the_other_node_where_one_cannot_be_reached(kind: str, tmp_path: Path) -> None:
    with (
        Nodes(READY, FINE) as nodes,
        socket.socket() as nobody,
    ):
        nobody.bind(("127.0.0.1", 0))
        with front(kind, tmp_path, (nobody.getsockname()[1], nodes[1].port)) as proxy:
            for _ in range(10):
                assert proxy.ask("POST", TOKEN, form={"grant_type": "authorization_code"}).body == b"fine"
    assert asked(nodes, b"POST") == 10


@pytest.mark.parametrize("kind", KINDS)
def test_nodes_get_what_the_front_saw_and_nothing_else_of_the_client(kind: str, tmp_path: Path) -> None:
    with Nodes(READY, FINE) as nodes, front(kind, tmp_path, (nodes[0].port, nodes[1].port)) as proxy:
        forged = {
            "X-Forwarded-For": "198.51.100.1",
            "x_forwarded_for": "198.51.100.2",
            "Forwarded": "for=198.51.100.3",
            "Connection": "X-Forwarded-For",
        }
        assert proxy.ask("GET", "/a", forged, source="127.0.0.5").body == b"fine"
        (request,) = [found for node in nodes for _, found in node.requests if found.startswith(b"GET /a")]
        lines = [line.partition(b":") for line in request.lower().split(b"\r\n")[1:] if line]
        found = [(name, value.strip()) for name, _, value in lines if b"forwarded" in name]
        assert [pair for pair in found if b"_" not in pair[0]] == [(b"x-forwarded-for", b"127.0.0.5")]


@pytest.mark.spec("invariant I4")
def test_while_no_node_is_ready_haproxy_lets_the_nodes_say_so(tmp_path: Path) -> None:
    with Nodes(AWAY, FINE) as nodes, front("haproxy", tmp_path, (nodes[0].port, nodes[1].port)) as proxy:
        deadline = time.monotonic() + 60
        while " unready/" not in proxy.log.read_text():
            assert proxy.ask("GET", "/.well-known/jwks.json").body == b"fine"
            assert time.monotonic() < deadline
        assert proxy.ask("POST", TOKEN, form={"grant_type": "authorization_code"}).body == b"fine"
