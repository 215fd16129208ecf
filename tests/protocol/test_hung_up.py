"""A request that nobody waits for any more ends no grant: a node that stood still finds such requests when it wakes up."""

import asyncio
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.support.installation import PREFIX, Installation

from mintmark import bootstrap

pytestmark = [pytest.mark.anyio, pytest.mark.spec("invariant I3")]


async def present(mint: Installation, refresh_token: str, *, hangs_up: bool) -> int | None:
    """Post an old token; return the status that was sent, if any."""
    form = mint.credentials("web") | {"grant_type": "refresh_token", "refresh_token": refresh_token}
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": f"{PREFIX}/token",
        "raw_path": f"{PREFIX}/token".encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("192.0.2.1", 1),
        "server": ("id.example", 443),
    }
    messages = [{"type": "http.request", "body": urlencode(form).encode(), "more_body": False}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        if not hangs_up:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await bootstrap.application(mint.authority)(scope, receive, send)
    return sent[0]["status"] if sent else None


@pytest.mark.parametrize(("hangs_up", "status", "lives_on"), [(True, 503, True), (False, 400, False)])
async def test_an_old_token(mint: Installation, *, hangs_up: bool, status: int, lives_on: bool) -> None:
    first = (await mint.obtain())["refresh_token"]
    second = (await mint.refresh(first)).json()["refresh_token"]
    third = (await mint.refresh(second)).json()["refresh_token"]
    assert await present(mint, first, hangs_up=hangs_up) == status
    assert ((await mint.refresh(third)).status_code == 200) is lives_on
