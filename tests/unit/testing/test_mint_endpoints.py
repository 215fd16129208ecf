"""What the transport answers: a client and a verifier of somebody else find there what the real authority has."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from mintmark.authority.metadata import PATHS
from mintmark.testing import Mint
from mintmark.verifier.credentials import basic_authorization
from mintmark.verifier.ports import Response, TransportError

FORM = "application/x-www-form-urlencoded"


def get(mint: Mint, path: str, **headers: str) -> Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return mint.transport.request("GET", mint.issuer + path, headers=sent, timeout=1, max_bytes=100_000)


def post(mint: Mint, endpoint: str, credentials: tuple[str, str] | None, **form: str) -> Response:
    headers = {"Content-Type": FORM}
    if credentials is not None:
        headers["Authorization"] = basic_authorization(*credentials)
    body = urlencode(form).encode()
    url = mint.issuer + PATHS[endpoint]
    return mint.transport.request("POST", url, headers=headers, body=body, timeout=1, max_bytes=100_000)


def said(response: Response) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(response.body)
    return content


def refreshed(mint: Mint, credentials: tuple[str, str], refresh_token: str) -> Response:
    return post(mint, "token_endpoint", credentials, grant_type="refresh_token", refresh_token=refresh_token)


@pytest.mark.spec("RFC 8414 §3")
@pytest.mark.parametrize("path", ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"])
def test_the_metadata_names_the_issuer_and_its_endpoints(mint: Mint, path: str) -> None:
    answer = get(mint, path)
    assert answer.status == 200
    assert said(answer)["issuer"] == mint.issuer
    assert said(answer)["token_endpoint"] == mint.issuer + PATHS["token_endpoint"]


@pytest.mark.spec("RFC 8414 §3.1")
def test_the_metadata_of_an_issuer_with_a_path_is_where_it_belongs() -> None:
    with Mint("https://id.test/tenant") as mint:
        for url in (
            "https://id.test/.well-known/oauth-authorization-server/tenant",
            "https://id.test/tenant/.well-known/openid-configuration",
        ):
            answer = mint.transport.request("GET", url, headers={}, timeout=1, max_bytes=100_000)
            assert said(answer)["issuer"] == mint.issuer


@pytest.mark.spec("RFC 9110 §13.1.2")
def test_the_keys_can_be_cached_and_asked_for_again(mint: Mint) -> None:
    first = get(mint, PATHS["jwks_uri"])
    assert first.headers["cache-control"] == "public, max-age=300"
    again = get(mint, PATHS["jwks_uri"], If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    mint.rotate()
    changed = get(mint, PATHS["jwks_uri"], If_None_Match=first.headers["etag"])
    assert changed.status == 200
    assert len(said(changed)["keys"]) == len(said(first)["keys"]) + 1


def test_a_client_gets_its_own_tokens(mint: Mint) -> None:
    secret = mint.client("worker", scope="orders:read orders:write")
    answer = post(mint, "token_endpoint", ("worker", secret), grant_type="client_credentials", scope="orders:read")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = said(answer)
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 900, "orders:read")
    assert "refresh_token" not in tokens
    token = mint.verifier().verify(tokens["access_token"])
    assert (token.sub, token.scopes, "gid" in token.claims) == ("worker", frozenset({"orders:read"}), False)


def test_asking_for_a_client_again_keeps_its_secret_and_what_it_may(mint: Mint) -> None:
    secret = mint.client("worker", scope="orders:read")
    assert mint.client("worker", scope="orders:write") == secret
    answer = post(mint, "token_endpoint", ("worker", secret), grant_type="client_credentials")
    assert said(answer)["scope"] == "orders:read orders:write"


@pytest.mark.spec("RFC 6749 §6")
def test_a_refresh_token_is_exchanged_for_the_next(mint: Mint) -> None:
    tokens = mint.tokens(sub="bob", scope="openid orders:read")
    assert tokens.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    credentials = ("app", mint.client("app"))
    answer = refreshed(mint, credentials, tokens["refresh_token"])
    assert answer.status == 200
    assert said(answer)["refresh_token"] != tokens["refresh_token"]
    verifier = mint.verifier()
    before, after = verifier.verify(tokens["access_token"]), verifier.verify(said(answer)["access_token"])
    assert (after.sub, after.scopes, after.claims["gid"]) == ("bob", before.scopes, before.claims["gid"])


@pytest.mark.spec("invariant I3")
def test_an_old_refresh_token_ends_the_grant(mint: Mint) -> None:
    verifier = mint.verifier()
    credentials = ("app", mint.client())
    tokens = mint.tokens()
    second = said(refreshed(mint, credentials, tokens["refresh_token"]))
    assert refreshed(mint, credentials, second["refresh_token"]).status == 200
    assert said(refreshed(mint, credentials, tokens["refresh_token"]))["error"] == "invalid_grant"
    assert said(refreshed(mint, credentials, second["refresh_token"]))["error"] == "invalid_grant"
    verifier.catch_up()
    with pytest.raises(Exception, match="revoked"):
        verifier.verify(tokens["access_token"])


@pytest.mark.spec("invariant I2")
def test_a_client_that_lost_the_response_gets_the_same_refresh_token_again(mint: Mint) -> None:
    credentials = ("app", mint.client())
    first = mint.tokens()["refresh_token"]
    with mint.lost_response(), pytest.raises(TransportError, match="lost"):
        refreshed(mint, credentials, first)
    second = said(refreshed(mint, credentials, first))["refresh_token"]
    assert said(refreshed(mint, credentials, first))["refresh_token"] == second
    mint.clock(+11)
    assert said(refreshed(mint, credentials, first))["error"] == "invalid_grant"


def test_a_lost_response_means_that_the_issuer_did_act(mint: Mint) -> None:
    credentials = ("app", mint.client())
    verifier = mint.verifier()
    first = mint.tokens()
    with mint.lost_response(), pytest.raises(TransportError):
        post(mint, "revocation_endpoint", credentials, token=first["refresh_token"])
    assert said(refreshed(mint, credentials, first["refresh_token"]))["error"] == "invalid_grant"
    with pytest.raises(Exception, match="revoked"):
        verifier.verify(first["access_token"])


def test_in_an_outage_the_issuer_does_not_act(mint: Mint) -> None:
    credentials = ("app", mint.client())
    first = mint.tokens()["refresh_token"]
    with mint.outage(), pytest.raises(TransportError, match="reached"):
        refreshed(mint, credentials, first)
    assert refreshed(mint, credentials, first).status == 200
    mint.clock(+11)
    assert said(refreshed(mint, credentials, first))["error"] == "invalid_grant"


def test_troubles_may_come_together(mint: Mint) -> None:
    with mint.lost_response():
        with mint.outage(), pytest.raises(TransportError, match="reached"):
            get(mint, PATHS["jwks_uri"])
        with pytest.raises(TransportError, match="lost"):
            get(mint, PATHS["jwks_uri"])
    assert get(mint, PATHS["jwks_uri"]).status == 200


@pytest.mark.spec("RFC 7009 §2.2")
def test_a_client_revokes_its_token(mint: Mint) -> None:
    credentials = ("app", mint.client())
    verifier = mint.verifier()
    token = mint.token()
    answer = post(mint, "revocation_endpoint", credentials, token=token)
    assert (answer.status, answer.body) == (200, b"")
    verifier.catch_up()
    with pytest.raises(Exception, match="revoked"):
        verifier.verify(token)
    other = post(mint, "revocation_endpoint", ("web", mint.client("web")), token=mint.token())
    assert said(other)["error"] == "invalid_request"


@pytest.mark.spec("RFC 7662 §2.2")
def test_a_client_asks_about_its_token(mint: Mint) -> None:
    credentials = ("app", mint.client())
    token = mint.token(scope="orders:read")
    asked = said(post(mint, "introspection_endpoint", credentials, token=token))
    assert (asked["active"], asked["scope"]) == (True, "orders:read")
    mint.revoke(token)
    assert said(post(mint, "introspection_endpoint", credentials, token=token)) == {"active": False}


@pytest.mark.spec("RFC 6749 §5.2")
@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "client_credentials"}, 200, None),
        ({"grant_type": "client_credentials", "scope": "elsewhere"}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "mmc_x"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"grant_type": "refresh_token"}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
    ],
)
def test_each_failure_at_the_token_endpoint_has_its_code(
    mint: Mint, form: Mapping[str, str], status: int, error: str | None
) -> None:
    answer = post(mint, "token_endpoint", ("app", mint.client(scope="orders:read")), **form)
    assert (answer.status, said(answer).get("error")) == (status, error)


@pytest.mark.spec("RFC 6749 §5.2")
def test_a_client_that_does_not_authenticate_is_told_how(mint: Mint) -> None:
    secret = mint.client(scope="orders:read")
    for credentials in (None, ("app", "wrong"), ("stranger", secret)):
        answer = post(mint, "token_endpoint", credentials, grant_type="client_credentials")
        assert (answer.status, said(answer)["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert post(mint, "token_endpoint", ("app", secret), grant_type="client_credentials").status == 200


def test_guessing_a_secret_gets_slow(mint: Mint) -> None:
    secret = mint.client(scope="orders:read")
    for _ in range(21):
        post(mint, "token_endpoint", ("app", "wrong"), grant_type="client_credentials")
    answer = post(mint, "token_endpoint", ("app", "wrong"), grant_type="client_credentials")
    assert answer.headers["retry-after"] == "3"
    assert post(mint, "token_endpoint", ("app", secret), grant_type="client_credentials").status == 200


def test_a_form_is_a_form(mint: Mint) -> None:
    url = mint.issuer + PATHS["token_endpoint"]
    answer = mint.transport.request("POST", url, headers={}, body=b"{}", timeout=1, max_bytes=1000)
    assert (answer.status, said(answer)["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/nowhere", "/api/v2/auth/authorize"])
def test_what_is_not_there_is_not_there(mint: Mint, path: str) -> None:
    assert get(mint, path).status == 404


def test_only_the_issuer_can_be_reached(mint: Mint) -> None:
    with pytest.raises(TransportError, match="nobody but the issuer"):
        mint.transport.request("GET", "https://elsewhere.test/", headers={}, timeout=1, max_bytes=1000)


def test_an_answer_beyond_the_limit_is_not_read(mint: Mint) -> None:
    url = mint.issuer + PATHS["jwks_uri"]
    whole = mint.transport.request("GET", url, headers={}, timeout=1, max_bytes=100_000)
    mint.transport.request("GET", url, headers={}, timeout=1, max_bytes=len(whole.body))
    with pytest.raises(TransportError):
        mint.transport.request("GET", url, headers={}, timeout=1, max_bytes=len(whole.body) - 1)


def test_the_feed_is_for_resource_servers_and_ends_with_a_heartbeat(mint: Mint) -> None:
    mint.revoke(mint.token(jti="first"))
    credentials = mint._registry.resource_server([mint.audience])

    def read(credentials: tuple[str, str], **more: str) -> tuple[int, bytes]:
        headers = {"Authorization": basic_authorization(*credentials), "Accept": "text/event-stream", **more}
        url = mint.issuer + PATHS["revocations_endpoint"]
        with mint.transport.stream(url, headers=headers, connect_timeout=1, read_timeout=1) as stream:
            body = stream.read()
            assert stream.read() == b""
            return stream.status, body

    status, body = read(credentials)
    assert status == 200
    retry, entries, heartbeat, end = body.split(b"\n\n")
    assert (retry, end) == (b"retry: 1000", b"")
    name, position, data = entries.split(b"\n")
    assert name == b"event: revocations"
    assert json.loads(data.removeprefix(b"data: ")) == [{"jti": "first", "exp": mint.now() + 900}]
    assert heartbeat == b"event: heartbeat\n" + position + b"\ndata: {}"
    _, rest = read(credentials, **{"Last-Event-ID": position.decode().removeprefix("id: ")})
    assert b"revocations" not in rest
    assert read(("app", mint.client()))[0] == 403
    assert read(("app", "wrong"))[0] == 401
