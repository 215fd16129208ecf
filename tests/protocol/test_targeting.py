"""Which scope and which audience one gets (RFC 6749 §3.3, RFC 8707, RFC 9068 §3, ADR 0019)."""

from dataclasses import replace
from typing import Any

import pytest
from tests.protocol.answers import assert_error, assert_tokens, claims_of
from tests.protocol.inhabitants import change_client, client_of, give_roles
from tests.support.installation import API, CALLBACK, ISSUER, REPORTS, Installation, install

from mintmark.authority.model import Client

MACHINE = Client(
    client_id="machine",
    name="Reaches both resources, no default",
    grant_types=("client_credentials",),
    scope=("orders:read", "orders:write", "orders:admin", "reports:read"),
    resources=(API, REPORTS),
)


async def machine(mint: Installation, **form: Any) -> dict[str, Any]:
    return assert_tokens(await mint.post("/token", "machine", grant_type="client_credentials", **form))


@pytest.mark.spec("X03", "RFC 8707 §2")
@pytest.mark.parametrize(
    ("form", "aud", "scope"),
    [
        pytest.param({"resource": API, "scope": "orders:read"}, API, "orders:read", id="as asked"),
        pytest.param({"resource": REPORTS}, REPORTS, "reports:read", id="all it may have there"),
        pytest.param(
            {"resource": [API, REPORTS], "scope": "orders:read reports:read"},
            [API, REPORTS],
            "orders:read reports:read",
            id="two",
        ),
        pytest.param({"resource": [API, API], "scope": "orders:read"}, API, "orders:read", id="the same twice"),
        pytest.param(
            {"resource": API, "scope": "orders:read reports:read"}, API, "orders:read", id="scope of another left out"
        ),
        pytest.param({"scope": "reports:read"}, REPORTS, "reports:read", id="the one resource the scope belongs to"),
        pytest.param({}, ISSUER, "", id="neither asked nor a default: the authority itself"),
    ],
)
async def test_the_audience_is_what_was_asked_or_follows_from_the_scope(
    form: dict[str, Any], aud: object, scope: str
) -> None:
    """Never missing, never the client_id."""
    mint = await install(clients=[MACHINE])
    answer = await machine(mint, **form)
    claims = claims_of(answer["access_token"])
    assert claims["aud"] == aud
    assert claims["scope"] == answer["scope"] == scope
    assert "machine" not in claims["aud"]


@pytest.mark.spec("X03")
async def test_the_client_s_default_comes_before_the_authority() -> None:
    """For a client that has one; the scopes decide if they are not of the default."""
    mint = await install(clients=[replace(MACHINE, default_resource=API)])
    assert claims_of((await machine(mint))["access_token"])["aud"] == API
    assert claims_of((await machine(mint, scope="orders:read"))["access_token"])["aud"] == API
    assert claims_of((await machine(mint, scope="reports:read"))["access_token"])["aud"] == REPORTS


@pytest.mark.spec("X03", "RFC 9068 §3")
async def test_scopes_of_several_resources_need_a_resource() -> None:
    """invalid_scope without one; with one, or with both, they work. At authorize the same."""
    mint = await install(clients=[MACHINE])
    form = {"grant_type": "client_credentials", "scope": "orders:read reports:read"}
    assert_error(await mint.post("/token", "machine", **form), "invalid_scope")
    assert (await machine(mint, scope=form["scope"], resource=API))["scope"] == "orders:read"
    from mintmark.authority.authorize import AuthorizationError

    with pytest.raises(AuthorizationError) as refused:
        await mint.grant("web", scope="orders:read reports:read")
    assert refused.value.answer.parameters["error"] == "invalid_scope"


@pytest.mark.spec("X03", "RFC 8707 §2")
@pytest.mark.parametrize(
    "resource",
    [
        "https://unknown.example",
        API + "/",
        API.upper(),
        "api",
        "https://api.example#x",
        [API, "https://unknown.example"],
    ],
    ids=str,
)
async def test_an_unknown_resource_is_an_invalid_target(resource: Any) -> None:
    """Compared character by character; one bad among good ones spoils the request."""
    mint = await install(clients=[MACHINE])
    form = {"grant_type": "client_credentials", "resource": resource}
    assert_error(await mint.post("/token", "machine", **form), "invalid_target")
    assert (await machine(mint, resource=API))["scope"]


@pytest.mark.spec("X03")
async def test_a_resource_not_of_this_client_is_an_invalid_target(mint: Installation) -> None:
    """It exists, and others may have it: the answer is the same as for an unknown one."""
    form = {"grant_type": "client_credentials"}
    theirs = await mint.post("/token", "service", **form, resource=REPORTS)
    nobodys = await mint.post("/token", "service", **form, resource="https://unknown.example")
    assert_error(theirs, "invalid_target")
    assert theirs.content == nobodys.content
    assert_tokens(await mint.post("/token", "service", **form, resource=API))


@pytest.mark.spec("X03")
async def test_the_authority_joins_the_audience_of_a_sign_in(mint: Installation) -> None:
    """So that userinfo works; unless the client named its resources."""
    joined = claims_of((await mint.obtain(scope="openid orders:read"))["access_token"])
    assert joined["aud"] == [API, ISSUER]
    named = claims_of((await mint.obtain(scope="openid orders:read", resource=API))["access_token"])
    assert (named["aud"], named["scope"]) == (API, "orders:read")
    only = claims_of((await mint.obtain(scope="openid"))["access_token"])
    assert (only["aud"], only["scope"]) == (ISSUER, "openid")


@pytest.mark.spec("X03", "invariant I5")
async def test_a_resource_taken_from_a_client_is_gone_with_the_next_refresh(mint: Installation) -> None:
    """Others of the grant stay; if none is left, invalid_target, and the grant is not harmed."""
    tokens = await mint.obtain(scope="orders:read reports:read", resource=[API, REPORTS])
    await change_client(mint, "web", resources=(REPORTS,))
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert claims_of(tokens["access_token"])["aud"] == REPORTS
    assert tokens["scope"] == "reports:read"
    await change_client(mint, "web", resources=())
    assert_error(await mint.refresh(tokens["refresh_token"]), "invalid_target")
    await change_client(mint, "web", resources=(API, REPORTS))
    tokens = assert_tokens(await mint.refresh(tokens["refresh_token"]))
    assert set(claims_of(tokens["access_token"])["aud"]) == {API, REPORTS}


@pytest.mark.spec("T08", "RFC 6749 §3.3")
@pytest.mark.parametrize("scope", ["unknown", "openid", "reports:read", "orders:admin", "ORDERS:READ"])
async def test_nothing_left_of_what_was_asked_is_an_invalid_scope(mint: Installation, scope: str) -> None:
    """Unknown, meaningless without a person, another client's, needing a role, in other letters."""
    form = {"grant_type": "client_credentials"}
    assert_error(await mint.post("/token", "service", **form, scope=scope), "invalid_scope")
    answer = assert_tokens(await mint.post("/token", "service", **form, scope=f"{scope} orders:read"))
    assert answer["scope"] == "orders:read"


@pytest.mark.spec("T08")
@pytest.mark.parametrize("scope", ['a"b', "a\\b", "a\tb", "\u00fc", " ".join(f"s{n}" for n in range(101)), "x" * 257])
async def test_a_malformed_scope_is_an_invalid_scope(mint: Installation, scope: str) -> None:
    """Characters RFC 6749 does not allow, too many, too long; repeated ones and spaces are fine."""
    form = {"grant_type": "client_credentials"}
    assert_error(await mint.post("/token", "service", **form, scope=f"orders:read {scope}"), "invalid_scope")
    answer = assert_tokens(await mint.post("/token", "service", **form, scope="  orders:read orders:read "))
    assert answer["scope"] == "orders:read"


@pytest.mark.spec("T08", "ADR 0019")
async def test_a_scope_that_is_a_permission_needs_a_role_of_the_person(mint: Installation) -> None:
    """Without it the scope is left out, whatever the client may have; a role elsewhere does not help."""
    scope = "openid orders:read orders:admin"
    assert set((await mint.obtain(scope=scope))["scope"].split()) == {"openid", "orders:read"}
    await give_roles(mint, "order-admin")
    assert set((await mint.obtain(scope=scope))["scope"].split()) == {"openid", "orders:read", "orders:admin"}


@pytest.mark.spec("T08", "ADR 0019")
async def test_a_scope_that_is_a_permission_needs_a_role_of_the_client(mint: Installation) -> None:
    """On its own behalf a client's own roles count, and nobody else's."""
    await give_roles(mint, "order-admin")
    form = {"grant_type": "client_credentials", "scope": "orders:read orders:admin"}
    before = assert_tokens(await mint.post("/token", "service", **form))
    assert before["scope"] == "orders:read"
    assert "roles" not in claims_of(before["access_token"])
    await change_client(mint, "service", roles=("order-admin",))
    after = assert_tokens(await mint.post("/token", "service", **form))
    assert after["scope"] == "orders:read orders:admin"
    assert claims_of(after["access_token"])["roles"] == ["order-admin"]


@pytest.mark.spec("T08")
async def test_a_role_does_not_give_what_the_client_may_not_have() -> None:
    """Both are needed: the person's role and the client's registration."""
    app = Client(
        client_id="app", name="App", redirect_uris=(CALLBACK,), scope=("openid", "orders:read"), resources=(API,)
    )
    mint = await install(clients=[app])
    await give_roles(mint, "order-admin")
    tokens = await mint.obtain("app", scope="openid orders:read orders:admin")
    assert set(tokens["scope"].split()) == {"openid", "orders:read"}
    assert (await client_of(mint, "app")).scope == ("openid", "orders:read")
