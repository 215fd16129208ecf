"""Client authentication at every endpoint that asks for it (RFC 6749 §2.3)."""

import base64
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote_plus

import httpx
import pytest
from tests.protocol.answers import assert_error, assert_tokens
from tests.protocol.inhabitants import client_of
from tests.support.installation import PREFIX, Installation

from mintmark.authority.client_authentication import digest_of, read_credentials
from mintmark.authority.registration import rotate_secret, set_client_disabled
from mintmark.oauth.errors import OAuthError

ENDPOINTS = ["/token", "/revoke", "/introspect"]
FORM = {"grant_type": "client_credentials", "token": "x"}


def basic(client_id: str, secret: str, encode: Callable[[str], str] = quote_plus) -> dict[str, str]:
    """Return the header that RFC 6749 §2.3.1 describes."""
    pair = f"{encode(client_id)}:{encode(secret)}".encode()
    return {"authorization": "Basic " + base64.b64encode(pair).decode()}


async def send(
    mint: Installation, path: str, form: dict[str, str], headers: dict[str, str] | list[tuple[str, str]] | None = None
) -> httpx.Response:
    async with mint.http() as http:
        return await http.post(PREFIX + path, data={**FORM, **form}, headers=headers or {})


@pytest.mark.spec("T02", "RFC 6749 §2.3.1")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_both_ways_to_send_a_secret_work(mint: Installation, path: str) -> None:
    """Basic, and in the form."""
    secret = mint.secrets["service"]
    for headers in (
        basic("service", secret),
        {"authorization": basic("service", secret)["authorization"].replace("Basic", "bASIC")},
    ):
        assert (await send(mint, path, {}, headers)).status_code == 200
    assert (await send(mint, path, {"client_id": "service"}, basic("service", secret))).status_code == 200
    assert (await send(mint, path, {"client_id": "service", "client_secret": secret})).status_code == 200


@pytest.mark.spec("T02", "RFC 6749 §2.3.1")
@pytest.mark.parametrize(
    "secret", ["a:b", "100%", "%41", "two words", "plus+plus", "p\u00e4ss\u20ac\U0001f511", "=&?/#", "\u00a3 5:+%20"]
)
async def test_basic_credentials_are_form_decoded_first(mint: Installation, secret: str) -> None:
    """Colon, percent, space, plus and letters beyond ASCII survive; sent without the encoding they are refused."""
    client = await client_of(mint, "service")
    await mint.authority.store.clients.replace(client, replace(client, secret_digests=(digest_of(secret),)))
    assert_tokens(await send(mint, "/token", {}, basic("service", secret)))
    assert_tokens(await send(mint, "/token", {"client_id": "service", "client_secret": secret}))
    assert_error(await send(mint, "/token", {}, basic("service", secret + "x")), "invalid_client", 401)


@pytest.mark.spec("T02")
@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic c2VydmljZQ",
        "Basic c2VydmljZQ==",
        "Basic " + base64.b64encode(b":secret").decode(),
        "Basic " + base64.b64encode(b"service:%ff").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"service:%").decode(),
        "Basic " + "A" * 20_000,
        "Bearer abc",
        "Digest username=x",
        "nonsense",
        "",
    ],
)
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_malformed_credentials_are_refused(mint: Installation, path: str, header: str) -> None:
    """401 invalid_client, whatever is wrong; the right header works."""
    response = await send(mint, path, {}, {"authorization": header})
    assert_error(response, "invalid_client", 401)
    assert (await send(mint, path, {}, basic("service", mint.secrets["service"]))).status_code == 200


@pytest.mark.spec("T02")
@pytest.mark.parametrize("encoded", [b"%00:x", b"a%00b:x", b"a:%00", b"\0:x"])
def test_an_octet_that_no_database_takes_is_no_credential(encoded: bytes) -> None:
    """It would be a fault of ours that anybody may cause."""
    with pytest.raises(OAuthError) as refusal:
        read_credentials(["Basic " + base64.b64encode(encoded).decode()], {}, "192.0.2.1")
    assert (refusal.value.error, refusal.value.detail) == ("invalid_client", "malformed Basic credentials")
    assert read_credentials(["Basic " + base64.b64encode(b"a:x").decode()], {}, "192.0.2.1").client_id == "a"


@pytest.mark.spec("T03", "RFC 6749 §2.3")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_one_method_per_request(mint: Installation, path: str) -> None:
    """Two at once, or two names, are refused although each alone is right."""
    secret = mint.secrets["service"]
    right = basic("service", secret)
    assert_error(await send(mint, path, {"client_secret": secret}, right), "invalid_request")
    assert_error(await send(mint, path, {"client_id": "service", "client_secret": secret}, right), "invalid_request")
    assert_error(await send(mint, path, {"client_id": "web"}, right), "invalid_request")
    twice = [("authorization", right["authorization"])] * 2
    assert_error(await send(mint, path, {}, twice), "invalid_request")
    assertion = {
        "client_assertion": "e30.e30.e30",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    assert_error(await send(mint, path, assertion, right), "invalid_client", 401)
    assert_error(await send(mint, path, {**assertion, **mint.credentials("service")}), "invalid_client", 401)
    assert_error(await send(mint, path, {"client_assertion": "x"}, right), "invalid_client", 401)
    assert (await send(mint, path, {}, right)).status_code == 200


@pytest.mark.spec("T04", "RFC 6749 §5.2")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_failed_authentication_is_401_with_a_challenge(mint: Installation, path: str) -> None:
    """Wrong secret, unknown client, nothing at all, another client's secret: one and the same answer."""
    attempts = [
        await send(mint, path, {}, basic("service", "wrong")),
        await send(mint, path, {}, basic("nobody", "wrong")),
        await send(mint, path, {}, basic("service", mint.secrets["web"])),
        await send(mint, path, {}, basic("service", "")),
        await send(mint, path, {"client_id": "service", "client_secret": "wrong"}),
        await send(mint, path, {"client_id": "nobody"}),
        await send(mint, path, {}),
    ]
    for response in attempts:
        assert_error(response, "invalid_client", 401)
        assert response.headers["www-authenticate"].startswith("Basic realm=")
    assert len({response.content for response in attempts}) == 1
    assert (await send(mint, path, {}, basic("service", mint.secrets["service"]))).status_code == 200


@pytest.mark.spec("T11", "ASVS 10.4.10")
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_confidential_client_must_authenticate_everywhere(mint: Installation, path: str) -> None:
    """Its name alone is not enough."""
    for form in ({"client_id": "service"}, {"client_id": "service", "client_secret": ""}):
        assert_error(await send(mint, path, form), "invalid_client", 401)
    assert (await send(mint, path, mint.credentials("service"))).status_code == 200


@pytest.mark.spec("T11")
async def test_a_confidential_client_must_authenticate_for_each_grant(mint: Installation) -> None:
    """A code and a refresh token alone are worth nothing, and are not spent by trying."""
    code = await mint.grant()
    bare = {"client_id": "web"}
    callback = {"redirect_uri": "https://app.example/callback", "code_verifier": "v" * 43}
    form = {"grant_type": "authorization_code", "code": code, **callback}
    assert_error(await send(mint, "/token", {**bare, **form}), "invalid_client", 401)
    token = assert_tokens(await mint.redeem(code))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert_error(await send(mint, "/token", {**bare, **form}), "invalid_client", 401)
    assert_tokens(await mint.refresh(token))


@pytest.mark.spec("RFC 6749 §2.3")
async def test_a_public_client_names_itself_and_sends_no_secret(mint: Installation) -> None:
    """One that sends a secret is not the client it says."""
    token = (await mint.obtain("spa"))["refresh_token"]
    assert_error(await mint.refresh(token, "spa", client_secret="x"), "invalid_client", 401)
    response = await send(mint, "/token", {"grant_type": "refresh_token", "refresh_token": token}, basic("spa", ""))
    assert_error(response, "invalid_client", 401)
    assert_tokens(await mint.refresh(token, "spa"))


async def test_a_disabled_client_is_refused_everywhere_until_it_is_enabled(mint: Installation) -> None:
    """With its right secret; and the answer does not say why."""
    client = await set_client_disabled(mint.authority, await client_of(mint, "service"), is_disabled=True)
    for path in ENDPOINTS:
        assert_error(await send(mint, path, mint.credentials("service")), "invalid_client", 401)
    await set_client_disabled(mint.authority, client, is_disabled=False)
    for path in ENDPOINTS:
        assert (await send(mint, path, mint.credentials("service"))).status_code == 200


async def test_two_secrets_work_while_a_secret_is_being_changed(mint: Installation) -> None:
    """The old one until the next change, and no longer."""
    first = mint.secrets["service"]
    second = await rotate_secret(mint.authority, await client_of(mint, "service"))
    for secret in (first, second):
        assert_tokens(await send(mint, "/token", {}, basic("service", secret)))
    third = await rotate_secret(mint.authority, await client_of(mint, "service"))
    assert_error(await send(mint, "/token", {}, basic("service", first)), "invalid_client", 401)
    for secret in (second, third):
        assert_tokens(await send(mint, "/token", {}, basic("service", secret)))
