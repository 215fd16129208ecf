"""The API of `mintmark dev`: what it answers to whom, and where it listens."""

import contextlib
import socket
from unittest.mock import patch

import httpx
import pytest

from mintmark.cli import demo_api, listening
from mintmark.cli.demo import API, SCOPES
from mintmark.cli.refusal import Refusal
from mintmark.testing import Mint


async def answer(mint: Mint, path: str = "/orders", method: str = "GET", **headers: str) -> httpx.Response:
    application = demo_api.application(mint.verifier(API))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://api.test") as http:
        return await http.request(method, path, headers=headers)


async def test_who_may_read_orders_gets_them() -> None:
    with Mint(audience=API) as mint:
        answered = await answer(mint, **mint.headers(sub="ada", scope="orders:read"))
    assert answered.status_code == 200
    assert answered.json()["orders_of"] == "ada"
    assert answered.json()["orders"]


@pytest.mark.spec("RFC 6750 §3.1")
async def test_others_are_refused() -> None:
    with Mint(audience=API) as mint:
        revoked = mint.token(scope="orders:read")
        mint.revoke(revoked)
        assert (await answer(mint)).status_code == 401
        assert (await answer(mint, Authorization=f"Bearer {revoked}")).json()["error"] == "invalid_token"
        assert (await answer(mint, **mint.headers(scope="orders:write"))).status_code == 403
        assert (await answer(mint, **mint.headers(scope="orders:read"))).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/orders")])
async def test_there_is_nothing_else(method: str, path: str) -> None:
    with Mint(audience=API) as mint:
        headers = mint.headers(scope="orders:read")
        assert (await answer(mint, path, method, **headers)).status_code == 404


def test_its_scope_is_one_that_the_demo_service_may_have() -> None:
    assert demo_api.SCOPE in SCOPES


def port_of(listener: socket.socket) -> int:
    with listener:
        return int(listener.getsockname()[1])


def test_it_listens_just_above_the_authority_or_where_there_is_room() -> None:
    with socket.create_server(("127.0.0.1", 0)) as authority:
        port = authority.getsockname()[1]
    tried: list[int] = []

    def listen(host: str, port: int, *, how_to_move: object) -> socket.socket:
        tried.append(port)
        if len(tried) < 4 and port:
            raise Refusal("taken")
        return socket.create_server((host, 0))

    with patch.object(listening, "listen", listen):
        assert port_of(demo_api.listen_near("127.0.0.1", port)) > 0
        assert tried == [port + 2, port + 3, port + 4, port + 5]
        tried.clear()
        assert port_of(demo_api.listen_near("127.0.0.1", 65533)) > 0
    assert tried == [65535, 0]


def test_where_nothing_is_free_is_refused() -> None:
    def listen(host: str, port: int, *, how_to_move: object) -> socket.socket:
        raise Refusal("taken")

    with patch.object(listening, "listen", listen), pytest.raises(Refusal):
        demo_api.listen_near("127.0.0.1", 8080)


def test_it_answers_on_its_own_thread_until_the_context_ends() -> None:
    listener = listening.listen("127.0.0.1", 0, how_to_move=str)
    port = listener.getsockname()[1]
    with demo_api.answering(listener, "http://127.0.0.1:1", "secret") as verifier:
        assert verifier.audience == {API}
        assert httpx.get(f"http://127.0.0.1:{port}/orders", trust_env=False).status_code == 401
    listener.close()
    with contextlib.suppress(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/orders", trust_env=False)
        raise AssertionError("it still answers")
