"""What is noted of each request: an id, a line in the log, a count (`mintmark.asgi`)."""

import asyncio
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from mintmark.asgi import ASGIApp, Incoming, Reply, endpoint, noting, request_id
from mintmark.authority.meter import BOUNDS, Meter
from mintmark.cli import logs
from mintmark.oauth.errors import OAuthError, invalid_request

pytestmark = pytest.mark.anyio

MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]+-[0-9a-f]+")


@pytest.fixture(autouse=True)
def unchanged_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def app(seen: list[str] | None = None, answer: Exception | None = None, meter: Meter | None = None) -> ASGIApp:
    async def handler(_: Incoming) -> Reply:
        if seen is not None:
            seen.append(request_id.get())
            structlog.get_logger("handler").info("at work")
        if answer is not None:
            raise answer
        return Reply(200, b"fine")

    return endpoint(handler, ("GET",), lambda error: Reply(error.status, b"no"), path="/thing", meter=meter)


async def get(application: ASGIApp, method: str = "GET", headers: Any = ()) -> httpx.Response:
    transport = httpx.ASGITransport(application, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="https://id.example") as http:
        return await http.request(method, "/thing?code=secret", headers=list(headers))


async def test_every_answer_has_an_id_of_its_own() -> None:
    seen: list[str] = []
    application = app(seen)
    answers = [await get(application) for _ in range(3)]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert ids == seen
    assert len(set(ids)) == 3
    assert all(MADE.fullmatch(each) for each in ids)
    for refused in (await get(app(answer=invalid_request("no"))), await get(application, "DELETE")):
        assert MADE.fullmatch(refused.headers["x-request-id"])
    assert request_id.get() == ""


async def test_ids_of_two_at_a_time_do_not_mix() -> None:
    gate, seen = asyncio.Event(), {}

    async def handler(incoming: Incoming) -> Reply:
        await gate.wait()
        (name,) = incoming.header(b"x-name")
        seen[name] = request_id.get()
        return Reply(200)

    application = endpoint(handler, ("GET",), lambda error: Reply(error.status), path="/thing")
    tasks = [asyncio.create_task(get(application, headers=[("x-name", name)])) for name in "ab"]
    await asyncio.sleep(0.01)
    gate.set()
    first, second = await asyncio.gather(*tasks)
    assert seen == {"a": first.headers["x-request-id"], "b": second.headers["x-request-id"]}
    assert seen["a"] != seen["b"]


def test_a_process_that_forks_makes_no_id_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([7, 7])
    monkeypatch.setattr(noting, "_NUMBERS", numbers)
    parent = noting.id_of(())
    monkeypatch.setattr(os, "getpid", lambda: 99)
    assert noting.id_of(()) != parent


@pytest.mark.parametrize(
    "given", ["a", "7f9c2ba4-e88f-4b6e-9d2a-0c1de45a31b2", "0af7651916cd43dd8448eb211c80319c", "A.b_C-9"]
)
async def test_a_well_formed_id_is_taken_over(given: str) -> None:
    seen: list[str] = []
    answer = await get(app(seen), headers=[("x-request-id", given)])
    assert answer.headers["x-request-id"] == given
    assert seen == [given]


@pytest.mark.parametrize(
    "given",
    ["", "a b", "a\tb", "ä", '"quoted"', "a\\nb", "x" * 37, "mms_" + "s" * 43, "s" * 43, "<script>", "a,b"],
    ids=range(11),
)
@pytest.mark.spec("invariant I8")
async def test_any_other_id_is_not_even_looked_at(given: str) -> None:
    """Neither what could forge a line of a log nor what could be a secret in the wrong place."""
    with capture_logs() as lines:
        answer = await get(app([]), headers=[(b"x-request-id", given.encode())])
    assert MADE.fullmatch(answer.headers["x-request-id"])
    assert not given or given not in json.dumps(lines)


async def test_of_several_ids_the_first_sound_one_counts() -> None:
    answer = await get(app(), headers=[("x-request-id", "not sound"), ("x-request-id", "b"), ("x-request-id", "c")])
    assert answer.headers["x-request-id"] == "b"


@pytest.mark.parametrize("style", ["json", "console"])
async def test_every_line_says_which_request_it_belongs_to(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    logs.configure("debug", style)
    await get(app([], invalid_request("no such thing")), headers=[("x-request-id", "abc-1")])
    structlog.get_logger("beside").info("outside")
    lines = said.getvalue().splitlines()
    if style == "json":
        found = [json.loads(line) for line in lines]
        assert [(line["event"], line.get("request_id"), line.get("address")) for line in found] == [
            ("at work", "abc-1", "192.0.2.7"),
            ("refused", "abc-1", "192.0.2.7"),
            ("request", "abc-1", "192.0.2.7"),
            ("outside", None, None),
        ]
        assert found[2] | {"ms": 0, "timestamp": ""} == {
            "event": "request", "level": "debug", "request_id": "abc-1", "path": "/thing", "method": "GET",
            "status": 400, "error": "invalid_request", "address": "192.0.2.7", "ms": 0, "timestamp": "",
        }  # fmt: skip
    else:
        assert ["abc-1" in line for line in lines] == [True, True, True, False]


async def test_an_ordinary_answer_is_no_line_unless_all_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    logs.configure("info", "json")
    await get(app())
    assert said.getvalue() == ""
    monkeypatch.setattr(noting, "SLOW", 0.0)
    await get(app())
    line = json.loads(said.getvalue())
    assert (line["event"], line["level"], line["status"]) == ("slow", "info", 200)


@pytest.mark.spec("invariant I8")
async def test_lines_name_the_route_and_never_what_was_sent() -> None:
    with capture_logs() as lines:
        await get(app(answer=RuntimeError("secret")))
        await get(app(answer=OAuthError("invalid_request", "no", detail="the detail")))
    assert [line["event"] for line in lines] == ["fault", "request", "refused", "request"]
    assert "secret" not in json.dumps(lines)


async def test_an_answer_is_counted_once_and_in_its_class() -> None:
    meter = Meter()
    await get(app(meter=meter))
    await get(app(meter=meter, answer=invalid_request("no")))
    await get(app(meter=meter), "DELETE")
    assert {key: sum(durations.counts) for key, durations in meter.requests.items()} == {
        ("/thing", 200, ""): 1,
        ("/thing", 400, "invalid_request"): 1,
        ("/thing", 405, "invalid_request"): 1,
    }


@pytest.mark.parametrize(("seconds", "index"), [(0, 0), (0.001, 0), (0.0011, 1), (10, 12), (10.1, 13)])
def test_durations_fall_into_their_class(seconds: float, index: int) -> None:
    meter = Meter()
    meter.note("/thing", 200, "", seconds)
    durations = meter.requests["/thing", 200, ""]
    assert durations.counts == [int(at == index) for at in range(len(BOUNDS) + 1)]
    assert durations.total == seconds


async def test_whoever_leaves_before_the_body_is_whole_is_not_counted() -> None:
    meter, sent = Meter(), []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/thing", "query_string": b"", "headers": []}
    await app(meter=meter)(scope, receive, send)
    assert (meter.requests, sent) == ({}, [])
    assert request_id.get() == ""
