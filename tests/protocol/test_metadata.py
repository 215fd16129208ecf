"""What the authority says of itself, and that it is true (RFC 8414, OIDC Discovery)."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.protocol.answers import assert_tokens, part
from tests.protocol.inhabitants import change_client
from tests.support.installation import ISSUER, Installation, install

from mintmark import bootstrap
from mintmark.asgi import Receive, Scope, Send
from mintmark.authority.policy import Policy

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


async def get(mint: Installation, path: str, **headers: str) -> httpx.Response:
    async with mint.http() as http:
        return await http.get(path, headers=headers)


async def metadata(mint: Installation, path: str = OAUTH) -> dict[str, Any]:
    response = await get(mint, path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    return body


@pytest.mark.spec("M01", "RFC 8414 §3.3")
@pytest.mark.parametrize("path", [OPENID, OAUTH])
async def test_the_issuer_is_the_url_asked(mint: Installation, path: str) -> None:
    """https, no query, no fragment; the document is at the issuer with the well-known part."""
    issuer = (await metadata(mint, path))["issuer"]
    parts = urlsplit(issuer)
    assert (parts.scheme, parts.query, parts.fragment) == ("https", "", "")
    assert issuer == ISSUER


def behind_a_proxy(mint: Installation) -> httpx.AsyncClient:
    """Serve an issuer with a path as a proxy has to: below the path, and the inserted form at the host's root."""
    application = bootstrap.application(mint.authority)
    path = urlsplit(mint.authority.policy.issuer).path

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        await application({**scope, "path": scope["path"].removeprefix(path)}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=proxy), base_url="https://id.example")


@pytest.mark.spec("M01", "RFC 8414 §3.1", "OIDC Discovery §4")
@pytest.mark.parametrize("path", ["/auth", "/tenants/one"])
async def test_an_issuer_with_a_path_is_found_both_ways(path: str) -> None:
    """Inserted between host and path (RFC 8414), and appended (OIDC); with that issuer in it, and endpoints that work."""
    mint = await install(policy=Policy(issuer=f"https://id.example{path}"))
    async with behind_a_proxy(mint) as http:
        documents = [(await http.get(url)).json() for url in (OAUTH + path, OPENID + path, path + OPENID, path + OAUTH)]
        assert all(document == documents[0] for document in documents)
        found = documents[0]
        assert found["issuer"] == f"https://id.example{path}"
        for name, url in found.items():
            if name.endswith(("_endpoint", "_uri")):
                assert url.startswith(found["issuer"] + "/"), name
        jwks = (await http.get(found["jwks_uri"])).json()
        form = {**mint.credentials("service"), "grant_type": "client_credentials"}
        token = assert_tokens(await http.post(found["token_endpoint"], data=form))["access_token"]
        assert part(token, 0)["kid"] in {key["kid"] for key in jwks["keys"]}
        assert part(token, 1)["iss"] == found["issuer"]
        assert (await http.post(found["introspection_endpoint"], data={**form, "token": token})).json()["active"]
        # Another path is no issuer of ours.
        assert (await http.get(OAUTH + "/else")).status_code == 404


@pytest.mark.spec("M02", "RFC 9068 §4")
async def test_both_documents_agree(mint: Installation) -> None:
    """Byte for byte."""
    assert (await get(mint, OPENID)).content == (await get(mint, OAUTH)).content


@pytest.mark.spec("M03", "RFC 8414 §2")
async def test_algorithms_are_named_where_they_must_be_and_none_nowhere(mint: Installation) -> None:
    """No client authenticates by a signature yet, so no such member; never ``none`` as an algorithm."""
    found = await metadata(mint)
    methods = {name: found[name] for name in found if name.endswith("_auth_methods_supported")}
    assert {"token_endpoint_auth_methods_supported", "introspection_endpoint_auth_methods_supported"} <= set(methods)
    signing = {"private_key_jwt", "client_secret_jwt"}
    for name, values in methods.items():
        member = name.replace("_auth_methods_supported", "_auth_signing_alg_values_supported")
        assert (member in found) == bool(signing & set(values)), member
    for name, values in found.items():
        if name.endswith("_alg_values_supported"):
            assert values
            assert not {"none", "HS256"} & set(values)
    assert "RS256" in found["id_token_signing_alg_values_supported"]
    assert "none" not in methods["introspection_endpoint_auth_methods_supported"]


@pytest.mark.spec("M04", "P01", "RFC 8414 §3.2")
async def test_no_member_is_empty(mint: Installation) -> None:
    """Members without values are left out; and those that must be there are."""
    found = await metadata(mint)
    assert [name for name, value in found.items() if value in ([], "", None, {})] == []
    required = {
        *("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported"),
        *("subject_types_supported", "id_token_signing_alg_values_supported"),
    }
    assert required <= set(found)
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["authorization_response_iss_parameter_supported"] is True


@pytest.mark.spec("M04")
async def test_every_advertised_endpoint_is_there(mint: Installation) -> None:
    """Neither 404 nor 500 by GET or POST, and nothing needed is missing."""
    found = await metadata(mint)
    urls = {name: url for name, url in found.items() if name.endswith(("_endpoint", "_uri"))}
    assert len(urls) == 8
    for name, url in urls.items():
        async with mint.http() as http:
            statuses = {(await http.get(url)).status_code, (await http.post(url)).status_code}
        assert statuses != {404}, name
        assert all(status < 500 and status != 404 for status in statuses), (name, statuses)


@pytest.mark.spec("M04")
async def test_every_advertised_grant_and_method_works_and_no_other(mint: Installation) -> None:
    """Each grant type by each authentication method that it makes sense with."""
    found = await metadata(mint)
    assert set(found["grant_types_supported"]) == {"authorization_code", "refresh_token", "client_credentials"}
    assert set(found["token_endpoint_auth_methods_supported"]) == {"none", "client_secret_basic", "client_secret_post"}
    for client_id in ("spa", "web"):
        tokens = await mint.obtain(client_id)
        tokens = assert_tokens(await mint.refresh(tokens["refresh_token"], client_id))
        assert (await mint.post("/revoke", client_id, token=tokens["refresh_token"])).status_code == 200
    form = {"grant_type": "client_credentials"}
    assert_tokens(await mint.post("/token", "service", **form))
    async with mint.http() as http:
        auth = ("service", mint.secrets["service"])
        assert_tokens(await http.post(found["token_endpoint"], data=form, auth=auth))
        for endpoint in ("introspection_endpoint", "revocation_endpoint"):
            assert (await http.post(found[endpoint], data={"token": "x"}, auth=auth)).status_code == 200


@pytest.mark.spec("M04", "O01")
async def test_every_advertised_algorithm_works(mint: Installation) -> None:
    """As a client's ID token algorithm, and its access tokens can be signed likewise."""
    algorithms = (await metadata(mint))["id_token_signing_alg_values_supported"]
    assert set(algorithms) == {"RS256", "ES256"}
    for alg in algorithms:
        await change_client(mint, "web", id_token_signed_response_alg=alg, access_token_signed_response_alg=alg)
        tokens = await mint.obtain()
        assert part(tokens["id_token"], 0)["alg"] == part(tokens["access_token"], 0)["alg"] == alg
        assert await mint.is_active(tokens["access_token"])


@pytest.mark.spec("M04")
async def test_advertised_scopes_and_claims_are_answered(mint: Installation) -> None:
    """All OpenID scopes can be granted, and every claim of a person comes from somewhere."""
    found = await metadata(mint)
    tokens = await mint.obtain(scope=" ".join(found["scopes_supported"]))
    assert set(tokens["scope"].split()) == set(found["scopes_supported"])
    async with mint.http() as http:
        answer = await http.get(
            found["userinfo_endpoint"], headers={"authorization": f"Bearer {tokens['access_token']}"}
        )
    told = set(answer.json()) | set(part(tokens["id_token"], 1))
    assert set(found["claims_supported"]) <= told
    assert part(tokens["id_token"], 1)["acr"] in found["acr_values_supported"]


@pytest.mark.spec("M04", "RFC 9110 §13.1.2")
@pytest.mark.parametrize("path", [OPENID, OAUTH, "/.well-known/jwks.json"])
async def test_documents_may_be_cached_and_asked_for_again(mint: Installation, path: str) -> None:
    """max-age, ETag, 304; HEAD says the same without the body."""
    whole = await get(mint, path)
    assert whole.headers["cache-control"].startswith("public, max-age=")
    etag = whole.headers["etag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = await get(mint, path, **{"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await get(mint, path, **{"if-none-match": '"other"'})).content == whole.content
    async with mint.http() as http:
        head = await http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control", "etag", "access-control-allow-origin"):
        assert head.headers[name] == whole.headers[name], name


@pytest.mark.spec("RFC 9110 §8.6")
@pytest.mark.parametrize(
    "method",
    [
        "GET",
        "HEAD",
    ],
)
async def test_not_modified_claims_no_other_length(mint: Installation, method: str) -> None:
    """A 304 has no Content-Length, or that of the whole document."""
    path = "/.well-known/jwks.json"
    whole = await get(mint, path)
    async with mint.http() as http:
        again = await http.request(method, path, headers={"if-none-match": whole.headers["etag"]})
    assert again.status_code == 304
    assert again.headers.get("content-length") in {None, whole.headers["content-length"]}


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_health(mint: Installation, path: str) -> None:
    """Up, and able to work; HEAD works for load balancers."""
    assert (await get(mint, path)).status_code == 200
    async with mint.http() as http:
        assert (await http.head(path)).status_code == 200


@pytest.mark.spec("invariant I4")
async def test_readiness_names_what_is_missing(stored_mint: Installation) -> None:
    """No database: 503 at readyz, while livez says that the process is up."""
    await stored_mint.authority.store.close()
    answer = await get(stored_mint, "/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["database"])
    assert (await get(stored_mint, "/livez")).status_code == 200
