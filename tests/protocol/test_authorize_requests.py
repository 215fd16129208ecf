"""Authorization requests as a client sends them: what is refused, and how (RFC 6749 §4.1, RFC 7636, RFC 9700 §2.1)."""

from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.installation import CALLBACK, Installation, authorize_url

from mintmark.bootstrap import real_world
from mintmark.storage.memory import MemoryStore


async def answer(mint: Installation, client_id: str = "web", **extra: str | None) -> dict[str, str]:
    """Return what the redirect tells the client, or the page's status if there is no redirect."""
    browser = await mint.browser()
    response = await browser.get(authorize_url(client_id, **extra))
    location = response.headers.get("location", "")
    if not location.startswith(CALLBACK):
        return {"page": location.partition("?")[0] or str(response.status_code)}
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


@pytest.mark.spec("A08", "RFC 9700 §2.1.2")
@pytest.mark.parametrize(
    "response_type", ["token", "id_token", "id_token token", "code token", "code id_token", "none"]
)
async def test_nothing_but_a_code_comes_from_the_authorization_endpoint(mint: Installation, response_type: str) -> None:
    refused = await answer(mint, response_type=response_type)
    assert (refused["error"], refused["state"]) == ("unsupported_response_type", "st4te")
    assert await answer(mint) == {"page": "/consent"}


@pytest.mark.spec("P02", "RFC 7636 §4.4.1")
@pytest.mark.parametrize("client_id", ["spa", "web"])
async def test_a_request_without_a_challenge_goes_back_as_an_error(mint: Installation, client_id: str) -> None:
    refused = await answer(mint, client_id, code_challenge=None, code_challenge_method=None)
    assert (refused["error"], refused["iss"]) == ("invalid_request", mint.authority.policy.issuer)
    assert await answer(mint, client_id) == {"page": "/consent"}


@pytest.mark.spec("P05", "RFC 7636 §4.3")
@pytest.mark.parametrize("method", ["plain", None, "s256"])
async def test_plain_is_refused_also_by_default(mint: Installation, method: str | None) -> None:
    assert (await answer(mint, code_challenge_method=method))["error"] == "invalid_request"
    assert await answer(mint, code_challenge_method="S256") == {"page": "/consent"}


@pytest.mark.spec("Z06")
async def test_a_fresh_store_has_no_accounts_no_clients_and_no_shared_secrets() -> None:
    store = MemoryStore()
    assert [await store.users.all(), await store.clients.all(), await store.roles.all()] == [[], [], []]
    assert [await store.keys.signing_keys(), await store.keys.server_secrets()] == [[], []]
    assert real_world().randomness.bytes(32) != real_world().randomness.bytes(32)
