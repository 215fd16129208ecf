"""The token endpoint as such (RFC 6749 §3.2, §4.4, §5)."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.protocol.answers import assert_error, assert_not_stored, assert_tokens, claims_of
from tests.protocol.inhabitants import change_client, grant_of
from tests.support.installation import API, CALLBACK, PREFIX, Installation, install

from mintmark.authority.model import Client
from mintmark.authority.people import UnacceptableError

TOKEN = PREFIX + "/token"
BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


def service_form(mint: Installation, **extra: str) -> dict[str, str]:
    return {**mint.credentials("service"), "grant_type": "client_credentials", **extra}


@pytest.mark.spec("T01", "RFC 6749 §3.2")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "QUERY"])
async def test_only_post_is_answered(mint: Installation, method: str) -> None:
    """Any other method is refused with 405, names POST, and no token comes."""
    async with mint.http() as http:
        refused = await http.request(method, TOKEN, params=service_form(mint))
        assert refused.status_code == 405
        assert_not_stored(refused)
        assert "POST" in refused.headers["allow"]
        assert "access_token" not in refused.text
        assert_tokens(await http.post(TOKEN, data=service_form(mint)))


@pytest.mark.spec("T01", "RFC 6749 §3.2")
@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda form: {"json": form}, id="JSON"),
        pytest.param(lambda form: {"files": {k: (None, v) for k, v in form.items()}}, id="multipart"),
        pytest.param(lambda form: {"params": form}, id="everything in the URL"),
        pytest.param(
            lambda form: {"params": {"grant_type": form.pop("grant_type")}, "data": form}, id="one in the URL"
        ),
        pytest.param(lambda form: {"params": {"unknown": "x"}, "data": form}, id="an unknown one in the URL"),
        pytest.param(lambda form: {"params": {"client_secret": "x"}, "data": form}, id="a secret in the URL"),
        pytest.param(lambda _: {}, id="nothing"),
    ],
)
async def test_parameters_come_in_a_form_and_nowhere_else(
    mint: Installation, send: Callable[[dict[str, str]], dict[str, Any]]
) -> None:
    """JSON, multipart and parameters in the URL get no token; the same in a form does."""
    async with mint.http() as http:
        assert_error(await http.post(TOKEN, **send(service_form(mint))), "invalid_request")
        assert_tokens(await http.post(TOKEN, data=service_form(mint)))


@pytest.mark.spec("T01", "RFC 9110 §8.3.1")
@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-Urlencoded",
        "application/x-www-form-urlencoded ;a=b",
    ],
)
async def test_the_forms_media_type_may_have_parameters_and_any_case(mint: Installation, content_type: str) -> None:
    """As libraries send it."""
    body = "&".join(f"{name}={value}" for name, value in service_form(mint).items())
    async with mint.http() as http:
        assert_tokens(await http.post(TOKEN, content=body, headers={"content-type": content_type}))


@pytest.mark.spec("T05", "RFC 6749 §5.1")
async def test_a_success_is_json_that_no_cache_may_keep(mint: Installation) -> None:
    """Exactly the members that RFC 6749 and OpenID Connect have."""
    response = await mint.redeem(await mint.grant())
    body = assert_tokens(response)
    assert set(body) == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert response.headers["pragma"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert isinstance(body["expires_in"], int)


@pytest.mark.spec("T05", "RFC 6749 §5.2")
@pytest.mark.parametrize(
    ("client_id", "form", "error"),
    [
        ("service", {}, "invalid_request"),
        ("service", {"grant_type": ""}, "invalid_request"),
        ("service", {"grant_type": "foo"}, "unsupported_grant_type"),
        ("service", {"grant_type": "Client_Credentials"}, "unsupported_grant_type"),
        ("service", {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, "unsupported_grant_type"),
        ("service", {"grant_type": "implicit"}, "unsupported_grant_type"),
        ("web", {"grant_type": "authorization_code"}, "invalid_request"),
        ("web", {"grant_type": "authorization_code", "code": "x"}, "invalid_grant"),
        ("web", {"grant_type": "refresh_token"}, "invalid_request"),
        ("web", {"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ("service", {"grant_type": "client_credentials", "scope": 'a"b'}, "invalid_scope"),
        ("service", {"grant_type": "client_credentials", "resource": "https://nowhere.example"}, "invalid_target"),
    ],
)
async def test_each_failure_has_its_code(mint: Installation, client_id: str, form: dict[str, str], error: str) -> None:
    """400, the right code, JSON, never to be stored."""
    assert_error(await mint.post("/token", client_id, **form), error)


@pytest.mark.spec("T05", "T07", "RFC 6749 §5.2")
@pytest.mark.parametrize(
    ("client_id", "form"),
    [
        ("service", {"grant_type": "authorization_code", "code": "x"}),
        ("service", {"grant_type": "refresh_token", "refresh_token": "x"}),
        ("web", {"grant_type": "client_credentials"}),
        ("spa", {"grant_type": "client_credentials"}),
    ],
)
async def test_a_client_gets_only_the_grants_registered_for_it(
    mint: Installation, client_id: str, form: dict[str, str]
) -> None:
    """Any other is unauthorized_client; the positive twins are all over this folder."""
    assert_error(await mint.post("/token", client_id, **form), "unauthorized_client")


@pytest.mark.spec("T07", "RFC 9700 §2.4")
@pytest.mark.parametrize("client_id", ["web", "spa", "service"])
async def test_there_is_no_password_grant(mint: Installation, client_id: str) -> None:
    """Whoever asks, with the right password."""
    form = {"grant_type": "password", "username": "ada@example.com", "password": "correct horse battery staple"}
    assert_error(await mint.post("/token", client_id, **form), "unsupported_grant_type")


@pytest.mark.spec("T07")
async def test_a_client_without_refresh_tokens_gets_none(mint: Installation) -> None:
    """And what others hold is of no use to it."""
    once = Client(
        client_id="once",
        name="No refresh",
        grant_types=("authorization_code",),
        redirect_uris=(CALLBACK,),
        scope=("openid",),
    )
    mint = await install(clients=[once])
    body = assert_tokens(await mint.redeem(await mint.grant("once"), "once"))
    assert "refresh_token" not in body
    theirs = (await mint.obtain("web"))["refresh_token"]
    assert_error(await mint.refresh(theirs, "once"), "unauthorized_client")
    assert_tokens(await mint.refresh(theirs, "web"))


@pytest.mark.spec("T07")
async def test_taking_refresh_tokens_away_from_a_client_makes_its_own_useless(mint: Installation) -> None:
    """The registration as it stands now decides."""
    token = (await mint.obtain("web"))["refresh_token"]
    await change_client(mint, "web", grant_types=("authorization_code",))
    assert_error(await mint.refresh(token), "unauthorized_client")
    await change_client(mint, "web", grant_types=("authorization_code", "refresh_token"))
    assert_tokens(await mint.refresh(token))


@pytest.mark.spec("T08", "RFC 6749 §3.3")
async def test_the_granted_scope_is_returned_where_it_differs(mint: Installation) -> None:
    """Unknown scopes are left out and the answer says what was granted, the token too."""
    body = assert_tokens(
        await mint.post(
            "/token", "service", grant_type="client_credentials", scope="orders:read unknown orders:write openid"
        )
    )
    assert body["scope"].split() == ["orders:read", "orders:write"]
    assert claims_of(body["access_token"])["scope"] == "orders:read orders:write"
    from_code = await mint.obtain(scope="openid orders:read nonsense:x")
    assert from_code["scope"].split() == ["openid", "orders:read"]


@pytest.mark.spec("T08", "RFC 6749 §6", "invariant I5")
@pytest.mark.parametrize(
    "more", ["orders:read orders:write", "orders:write", "orders:admin", "unknown", "openid email"]
)
async def test_a_refresh_never_widens_the_scope(mint: Installation, more: str) -> None:
    """More than the grant holds is invalid_scope, and the refresh token is not spent by asking."""
    tokens = await mint.obtain(scope="openid orders:read")
    assert_error(await mint.refresh(tokens["refresh_token"], scope=more), "invalid_scope")
    assert (await grant_of(mint, tokens["refresh_token"])).generation == 1
    body = assert_tokens(await mint.refresh(tokens["refresh_token"], scope="orders:read"))
    assert body["scope"] == "orders:read"


@pytest.mark.spec("T09", "RFC 6749 §4.4")
async def test_client_credentials_give_no_refresh_token(mint: Installation) -> None:
    """Nor an ID token; the subject is the client itself."""
    body = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    claims = claims_of(body["access_token"])
    assert claims["sub"] == claims["client_id"] == "service"
    assert not {"gid", "auth_time", "acr", "amr"} & set(claims)


@pytest.mark.spec("T09", "RFC 6749 §4.4")
async def test_a_public_client_gets_no_client_credentials(mint: Installation) -> None:
    """It may not even be registered for them; and if it were, it would still get none."""
    with pytest.raises(UnacceptableError):
        await change_client(mint, "spa", grant_types=("authorization_code", "client_credentials"))
    spa = await mint.authority.store.clients.get("spa")
    assert spa is not None
    from dataclasses import replace

    await mint.authority.store.clients.replace(spa, replace(spa, grant_types=("client_credentials",)))
    assert_error(await mint.post("/token", "spa", grant_type="client_credentials"), "unauthorized_client")


@pytest.mark.spec("T10", "RFC 6749 §2.3.1")
async def test_guessing_a_secret_gets_slow_and_locks_nobody_out(mint: Installation) -> None:
    """After a burst each wrong secret gets 429 with Retry-After; the right one, and others, always pass."""
    right = service_form(mint)
    wrong = {**right, "client_secret": "mms_wrong"}
    async with mint.http() as http:
        answers = [await http.post(TOKEN, data=wrong) for _ in range(1000)]
        slow = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {401, 429}
        assert len(slow) == 980
        for answer in slow:
            assert_error(answer, "temporarily_unavailable", 429)
            assert int(answer.headers["retry-after"]) > 0
        assert_tokens(await http.post(TOKEN, data=right))
    async with mint.http("198.51.100.7") as elsewhere:
        assert_error(await elsewhere.post(TOKEN, data=wrong), "invalid_client", 401)
    mint.clock.advance(int(slow[-1].headers["retry-after"]) + 60)
    async with mint.http() as http:
        assert_error(await http.post(TOKEN, data=wrong), "invalid_client", 401)


@pytest.mark.spec("T10")
@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect"])
async def test_guessing_is_slow_at_every_endpoint_that_authenticates(mint: Installation, path: str) -> None:
    """Also for client_ids that do not exist: nothing tells them apart."""
    for client_id in ("web", "nobody"):
        form = {"client_id": client_id, "client_secret": "x", "token": "x", "grant_type": "client_credentials"}
        answers = [await mint.post(path, **form) for _ in range(25)]
        statuses = [answer.status_code for answer in answers]
        assert statuses == sorted(statuses)
        assert set(statuses) == {401, 429}
        assert statuses.count(401) == 20  # 20 are free, then one each three seconds


@pytest.mark.spec("T10", "RFC 6749 §10.10")
async def test_codes_and_refresh_tokens_cannot_be_guessed(mint: Installation) -> None:
    """1,000 samples: recognisable prefix, URL-safe, of one length, 256 bits that differ everywhere."""
    session = await mint.session()
    codes = [await mint.grant(session=session) for _ in range(1000)]
    refresh_tokens = [(await mint.redeem(code)).json()["refresh_token"] for code in codes[:30]]
    for prefix, samples in (("mmc_", codes), ("mmr_", refresh_tokens)):
        assert len(set(samples)) == len(samples)
        assert {len(sample) for sample in samples} == {75}
        assert all(sample.startswith(prefix) and BASE64URL.fullmatch(sample) for sample in samples)
        macs = [sample[-42:] for sample in samples]  # 252 of the 256 bits of the MAC
        assert len(set(macs)) == len(samples)
        assert all(len({mac[position] for mac in macs}) > 10 for position in range(42))


@pytest.mark.spec("T10", "invariant I3")
async def test_one_changed_character_makes_a_token_garbage_and_garbage_revokes_nobody(mint: Installation) -> None:
    """Whatever is changed, at whatever place: refused, and the grant is none the worse."""
    tokens = await mint.obtain()
    genuine = tokens["refresh_token"]
    places = [*range(4, len(genuine) - 1, 3), len(genuine) - 2]
    forged = [genuine[:at] + ("A" if genuine[at] != "A" else "B") + genuine[at + 1 :] for at in places]
    forged += [genuine + "A", genuine[:-1], genuine + "=", genuine + "\n", " " + genuine, genuine.upper(), "mmr_"]
    for token in forged:
        assert_error(await mint.refresh(token), "invalid_grant")
    assert await mint.is_active(tokens["access_token"])
    assert (await grant_of(mint, genuine)).generation == 1
    assert_tokens(await mint.refresh(genuine))


@pytest.mark.spec("RFC 8707 §2.2")
async def test_a_code_may_be_redeemed_for_a_part_of_its_audience(mint: Installation) -> None:
    """resource narrows; what is not in the grant is invalid_target, and the code is not spent by asking."""
    code = await mint.grant()
    assert_error(await mint.redeem(code, resource="https://reports.example"), "invalid_target")
    body = assert_tokens(await mint.redeem(code, resource=API))
    assert claims_of(body["access_token"])["aud"] == API
