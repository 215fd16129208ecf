"""What a guard answers."""

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.unit.verifier.guard.asking import GATEWAYS, Asker, identity, table

from mintmark.testing import Mint
from mintmark.verifier import Verifier
from mintmark.verifier.guard import Guard

NOBODY = dict.fromkeys(["subject", "client", "scope", "roles", "permissions", "issuer"], "")
EVERY_GATEWAY = pytest.mark.parametrize("gateway", GATEWAYS)


@pytest.mark.spec("S01")
@EVERY_GATEWAY
async def test_a_good_token_passes_and_says_whose_it_is(asker: Asker, mint: Mint, gateway: str) -> None:
    good = mint.headers(scope="orders:read orders:write", roles=["clerk"])["Authorization"]
    answer = await asker(gateway, "/orders/7?x=/health", good)
    assert answer.status == 200
    assert answer.body == b""
    assert answer.header("cache-control") == "no-store"
    assert identity(answer) == {
        "subject": "ada",
        "client": "app",
        "scope": "orders:read orders:write",
        "roles": "clerk",
        "permissions": "",
        "issuer": mint.issuer,
    }


@pytest.mark.spec("S01", "RFC 6750 §3")
@EVERY_GATEWAY
async def test_without_a_token_401_and_a_bare_challenge(asker: Asker, gateway: str) -> None:
    for sent in (None, "Basic YTpi", "DPoP abc"):
        answer = await asker(gateway, "/orders", sent)
        assert answer.status == 401
        assert answer.header("www-authenticate") == "Bearer"
        assert identity(answer) == {}


@pytest.mark.spec("S01", "RFC 6750 §3.1")
@EVERY_GATEWAY
@pytest.mark.parametrize("flaw", ["garbage", "not a JWT", "expired", "another audience", "altered", "revoked"])
async def test_a_bad_token_is_401_and_nothing_else(asker: Asker, mint: Mint, gateway: str, flaw: str) -> None:
    good = mint.token(scope="orders:read")
    assert (await asker(gateway, "/orders", f"Bearer {good}")).status == 200
    if flaw == "revoked":
        mint.revoke(good)
    bad = {
        "garbage": "a.b.c",
        "not a JWT": "mt_garbage",
        "expired": mint.token(scope="orders:read", expires_in=-60),
        "another audience": mint.token(scope="orders:read", audience="https://other.example"),
        "altered": good[:-8] + ("A" * 8),
        "revoked": good,
    }[flaw]
    answer = await asker(gateway, "/orders", f"Bearer {bad}")
    assert answer.status == 401
    challenge = answer.header("www-authenticate")
    assert challenge is not None
    assert challenge.startswith('Bearer error="invalid_token"')
    assert identity(answer) == {}
    assert bad.encode() not in answer.body


@pytest.mark.spec("S01", "I4")
@EVERY_GATEWAY
async def test_while_the_issuer_is_away_only_what_might_be_good_is_503(
    mint: Mint, tmp_path: Path, gateway: str
) -> None:
    verifier = mint.verifier(introspect="always", on_stale="introspect")
    asker = Asker(Guard(verifier, table(tmp_path, '[[route]]\npath = "/orders"\n')))
    with mint.outage():
        # While the feed was heard just now, what the guard knows itself is as good as an answer.
        assert (await asker(gateway, "/orders", mint.headers()["Authorization"])).status == 200
        mint.clock(+16)
        answer = await asker(gateway, "/orders", mint.headers()["Authorization"])
        assert answer.status == 503
        assert answer.header("retry-after") == "1"
        assert answer.header("www-authenticate") is None
        for bad in ("a.b.c", "garbage", mint.token(expires_in=-60)):
            assert (await asker(gateway, "/orders", f"Bearer {bad}")).status == 401
    assert (await asker(gateway, "/orders", mint.headers()["Authorization"])).status == 200


@pytest.mark.spec("S01", "S02", "RFC 6750 §3.1")
@EVERY_GATEWAY
@pytest.mark.parametrize("sent", ["Bearer", "Bearer a b", "Bearer a,b", 'Bearer "a"', "Bearer é"])
async def test_credentials_that_cannot_be_read(asker: Asker, gateway: str, sent: str) -> None:
    answer = await asker(gateway, "/orders", sent)
    assert answer.status == (401 if gateway == "nginx" else 400)
    assert 'error="invalid_request"' in (answer.header("www-authenticate") or "")


@EVERY_GATEWAY
async def test_two_authorization_headers_are_one_too_many(asker: Asker, mint: Mint, gateway: str) -> None:
    good = mint.headers(scope="orders:read")["Authorization"]
    answer = await asker(gateway, "/orders", good, headers=(("Authorization", good),))
    assert answer.status == (401 if gateway == "nginx" else 400)


@pytest.mark.spec("S01", "S03", "RFC 6750 §3.1")
@pytest.mark.parametrize(
    ("method", "target", "claims"),
    [
        ("POST", "/orders", {"scope": "orders:write"}),
        ("GET", "/orders/all", {"roles": ["order admin"], "permissions": ["orders:list"]}),
        ("GET", "/me", {}),
        ("GET", "/money", {"acr": "phr"}),
    ],
)
async def test_a_route_gets_what_it_requires(
    asker: Asker, mint: Mint, method: str, target: str, claims: dict[str, Any]
) -> None:
    for gateway in GATEWAYS:
        answer = await asker(gateway, target, mint.headers(**claims)["Authorization"], method=method)
        assert answer.status == 200


@pytest.mark.spec("S01", "S03", "RFC 6750 §3.1", "RFC 9470 §3")
@pytest.mark.parametrize(
    ("method", "target", "claims", "status", "challenge"),
    [
        ("POST", "/orders", {"scope": "orders:read"}, 403, 'error="insufficient_scope"'),
        ("POST", "/orders", {"scope": "orders:read"}, 403, 'scope="orders:write"'),
        (
            "GET",
            "/orders/all",
            {"roles": ["order", "admin"], "permissions": ["orders:list"]},
            403,
            "insufficient_scope",
        ),
        ("GET", "/orders/all", {"roles": ["order admin"]}, 403, "insufficient_scope"),
        ("GET", "/money", {"acr": "pwd"}, 401, 'acr_values="phr"'),
        ("GET", "/money", {"acr": "phr", "auth_time": 1}, 401, 'max_age="60"'),
    ],
)
async def test_a_good_token_that_is_not_enough(
    asker: Asker, mint: Mint, method: str, target: str, claims: dict[str, Any], status: int, challenge: str
) -> None:
    for gateway in GATEWAYS:
        answer = await asker(gateway, target, mint.headers(**claims)["Authorization"], method=method)
        assert answer.status == status
        assert challenge in (answer.header("www-authenticate") or "")
        assert identity(answer) == {}


@EVERY_GATEWAY
@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/nowhere"), ("GET", "/"), ("POST", "/health"), ("PUT", "/orders")]
)
async def test_what_has_no_route_is_refused_with_any_token(
    asker: Asker, mint: Mint, gateway: str, method: str, target: str
) -> None:
    for sent in (None, mint.headers(scope="orders:read")["Authorization"]):
        answer = await asker(gateway, target, sent, method=method)
        assert answer.status == 403
        assert identity(answer) == {}


@EVERY_GATEWAY
async def test_a_public_route_needs_no_token_and_believes_none(asker: Asker, mint: Mint, gateway: str) -> None:
    for sent in (None, "Bearer garbage", "Bearer", mint.headers()["Authorization"]):
        for method in ("GET", "HEAD"):
            answer = await asker(gateway, "/health", sent, method=method)
            assert answer.status == 200
            assert identity(answer) == NOBODY


@pytest.mark.spec("S03")
@EVERY_GATEWAY
@pytest.mark.parametrize(
    "target", ["//health", "/health/../orders", "/health%2f..%2forders", "/health;x", "/Health", "*"]
)
async def test_a_path_that_could_be_read_in_two_ways(asker: Asker, gateway: str, target: str) -> None:
    if gateway == "envoy" and target == "*":
        assert (await asker(gateway, target)).status == 404
        return
    answer = await asker(gateway, target)
    assert answer.status == (403 if gateway == "nginx" else 400)
    assert identity(answer) == {}


@EVERY_GATEWAY
@pytest.mark.parametrize("method", ["get", "Post", "GET GET"])
async def test_a_method_that_is_not_in_capital_letters(asker: Asker, gateway: str, method: str) -> None:
    assert (await asker(gateway, "/health", method=method)).status == (403 if gateway == "nginx" else 400)


@pytest.mark.spec("S04")
@EVERY_GATEWAY
@pytest.mark.parametrize("name", ["X_Mintmark_Subject", "X-Mintmark_Subject", "x.mintmark.roles"])
async def test_a_header_that_looks_like_ours_is_refused(asker: Asker, mint: Mint, gateway: str, name: str) -> None:
    refused = 403 if gateway == "nginx" else 400
    assert (await asker(gateway, "/health", headers=((name, "eve"),))).status == refused
    good = mint.headers()["Authorization"]
    assert (await asker(gateway, "/me", good, headers=((name, "eve"),))).status == refused
    # Ours in its own spelling is for the gateway to overwrite.
    answer = await asker(gateway, "/me", good, headers=(("X-Mintmark-Subject", "eve"),))
    assert answer.status == 200
    assert identity(answer)["subject"] == "ada"


@pytest.mark.spec("S03")
@pytest.mark.parametrize("gateway", ["nginx", "traefik", "haproxy"])
@pytest.mark.parametrize("header", ["method", "uri"])
async def test_a_gateway_has_to_tell_once_what_the_request_is(asker: Asker, gateway: str, header: str) -> None:
    from tests.support.wire import send

    prefix = b"x-forwarded-" if gateway == "traefik" else b"x-original-"
    told = [(prefix + b"method", b"GET"), (prefix + b"uri", b"/health")]
    assert (await send(asker.guard, "GET", f"/{gateway}", headers=told)).status == 200
    twice = [*told, (prefix + header.encode(), b"GET" if header == "method" else b"/health")]
    without = [(name, value) for name, value in told if not name.endswith(header.encode())]
    for headers in (twice, without, []):
        answer = await send(asker.guard, "GET", f"/{gateway}", headers=headers)
        assert answer.status == (403 if gateway == "nginx" else 400)


async def test_one_gateway_s_headers_are_not_another_s(asker: Asker) -> None:
    from tests.support.wire import send

    headers = [(b"x-original-method", b"GET"), (b"x-original-uri", b"/health")]
    assert (await send(asker.guard, "GET", "/traefik", headers=headers)).status == 400
    assert (await send(asker.guard, "GET", "/envoy/orders", headers=headers)).status == 401


@pytest.mark.spec("I6")
async def test_a_route_may_rather_refuse_than_miss_a_revocation(mint: Mint, tmp_path: Path) -> None:
    routes = '[[route]]\npath = "/me"\n[[route]]\npath = "/fresh"\non_stale = "deny"\n'
    asker, good = Asker(Guard(mint.verifier(), table(tmp_path, routes))), mint.headers()["Authorization"]
    assert (await asker("nginx", "/fresh", good)).status == 200
    with mint.outage():
        mint.clock(60)
        assert (await asker("nginx", "/me", good)).status == 200
        assert (await asker("nginx", "/fresh", good)).status == 503


async def test_a_fault_of_ours_lets_nothing_pass(
    asker: Asker, mint: Mint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("S3CRET".lower())

    caplog.set_level(logging.INFO)
    good = mint.headers()["Authorization"]
    assert (await asker("nginx", "/me", good)).status == 200
    monkeypatch.setattr(Verifier, "averify", fail)
    answer = await asker("nginx", "/me", good)
    assert answer.status == 503
    assert "RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.spec("I8", "S07")
async def test_the_log_says_why_and_holds_nothing_that_was_sent(
    asker: Asker, mint: Mint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    expired = mint.token(expires_in=-60)
    await asker("envoy", "/orders/s3cret?t=s3cret", f"Bearer {expired}", headers=(("X-Other", "s3cret"),))
    await asker("envoy", "/s3cret;", f"Bearer {expired}")
    await asker("nginx", "/health", method="s3cret")
    assert "envoy: refused with 401: expired: exp, at /orders" in caplog.text
    assert "envoy: refused with 400: not a path" in caplog.text
    assert expired not in caplog.text
    assert "s3cret" not in caplog.text


async def test_alive_and_ready(asker: Asker, mint: Mint, tmp_path: Path) -> None:
    assert (await asker.at("/livez")).status == 200
    assert (await asker.at("/readyz")).status == 200
    with mint.outage():
        blind = Asker(Guard(mint.verifier(), table(tmp_path, "")))
        await blind.guard.prepare()
        assert (await blind.at("/livez")).status == 200
        assert (await blind.at("/readyz")).status == 503
    mint.clock(60)
    await blind.guard.prepare()
    assert (await blind.at("/readyz")).status == 200


async def test_metrics(asker: Asker, mint: Mint) -> None:
    await asker("nginx", "/me", mint.headers()["Authorization"])
    await asker("nginx", "/me", "Bearer a.b.c")
    await asker("envoy", "/nowhere")
    answer = await asker.at("/metrics")
    lines = answer.body.decode().splitlines()
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert 'mintmark_guard_answers_total{gateway="nginx",status="200"} 1.0' in lines
    assert 'mintmark_guard_answers_total{gateway="nginx",status="401"} 1.0' in lines
    assert 'mintmark_guard_answers_total{gateway="envoy",status="403"} 1.0' in lines
    assert "# TYPE mintmark_guard_answers_total counter" in lines
    assert "# TYPE mintmark_verifier_results gauge" in lines
    assert 'mintmark_verifier_rejections_total{code="malformed"} 1.0' in lines
    kinds = [line.split()[2] for line in lines if line.startswith("#")]
    assert len(kinds) == len(set(kinds))
    names = [line.partition("{")[0].split(" ")[0] for line in lines if not line.startswith("#")]
    assert list(dict.fromkeys(names)) == kinds


@pytest.mark.parametrize("path", ["/", "/nginx/", "/envoy", "/nginx/orders", "/docs", "//nginx", "/ENVOY/health"])
async def test_anything_else_is_unknown(asker: Asker, path: str) -> None:
    assert (await asker.at(path)).status == 404
