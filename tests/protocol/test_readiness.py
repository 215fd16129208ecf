"""Whether requests should come here (`/readyz`), as a load balancer asks."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.support.feed import TroubledStore, failing
from tests.support.installation import Installation, install

from mintmark import bootstrap
from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.memory import MemoryStore
from mintmark.storage.sqlite import UnknownSchemaError
from mintmark.web.streaming import Feed


async def ready(mint: Installation, feed: Feed | None = None) -> tuple[int, dict[str, Any]]:
    """Ask, and see that whatever the answer is, the process is up."""
    transport = httpx.ASGITransport(bootstrap.application(mint.authority, feed))
    async with httpx.AsyncClient(transport=transport, base_url="https://id.example") as http:
        assert (await http.get("/livez")).status_code == 200
        response = await http.get("/readyz")
    assert response.headers["cache-control"] == "no-store"
    return response.status_code, response.json()


async def test_from_the_moment_it_is_told_to_stop_it_is_not_ready(mint: Installation) -> None:
    feed = Feed(mint.authority)
    assert await ready(mint, feed) == (200, {"status": "ready"})
    feed.close()
    assert await ready(mint, feed) == (503, {"status": "not ready", "missing": ["draining"]})


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), UnknownSchemaError("schema 7 of host secret")])
async def test_not_while_the_store_is_away_or_has_a_schema_that_nobody_knows(error: Exception) -> None:
    store = TroubledStore(MemoryStore())
    mint = await install(store=store.as_store())
    assert (await ready(mint))[0] == 200
    store.troubles["check"] = failing(error)
    # What exactly is wrong is for the log: everybody may ask here.
    assert await ready(mint) == (503, {"status": "not ready", "missing": ["database"]})
    store.troubles.clear()
    assert (await ready(mint))[0] == 200


async def test_a_store_that_hangs_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks would give up sooner, and not know why."""

    async def hang() -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr("mintmark.web.health._PATIENCE", 0.01)
    store = TroubledStore(MemoryStore())
    mint = await install(store=store.as_store())
    store.troubles["check"] = hang
    assert await ready(mint) == (503, {"status": "not ready", "missing": ["database"]})


async def test_not_until_there_are_keys(mint: Installation) -> None:
    rows, mint.authority.keyring.rows = mint.authority.keyring.rows, ()
    missing = ["no active RS256 key", "no active ES256 key"]
    assert await ready(mint) == (503, {"status": "not ready", "missing": missing})
    mint.authority.keyring.rows = rows
    assert (await ready(mint))[0] == 200
