"""`mintmark token`: tokens come in on standard input and are told apart."""

import asyncio
import json

import pytest
from tests.unit.cli.command_line import START, Line

from mintmark.bootstrap import running
from mintmark.cli import demo, opening
from mintmark.config import load


@pytest.fixture
def refresh_token(line: Line) -> str:
    """Return the refresh token of a sign-in that happened in this database."""

    async def furnish() -> str:
        async with running(load(), opening.real_world()) as authority:
            return (await demo.furnish(authority, app_redirect_uri="http://127.0.0.1/cb")).refresh_token

    return asyncio.run(furnish())


def test_issue_prints_the_token_alone_for_a_pipe(line: Line) -> None:
    result = line("token", "issue", "first-client")
    assert result.stdout.count(".") == 2
    assert len(result.stdout.split()) == 1
    assert "It lives 900 seconds" in result.stderr
    assert line.json("audit", "list", "--limit", "1")[0]["event"] == "access_token.issued_by_operator"


def test_issue_as_json_is_a_token_response(line: Line) -> None:
    line("resource", "create", "https://api.example", "--scope", "orders:read orders:write")
    line("client", "create", "billing", "--resource", "https://api.example", "--scope", "orders:read orders:write")
    issued = line.json("token", "issue", "billing", "--scope", "orders:read", "--resource", "https://api.example")
    assert issued.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert issued["scope"] == "orders:read"
    claims = line.json("token", "inspect", typed=issued["access_token"])["claims"]
    assert (claims["aud"], claims["client_id"]) == ("https://api.example", "billing")


def test_issue_refuses_what_the_token_endpoint_would(line: Line) -> None:
    line("client", "create", "app", "--kind", "spa", "--redirect-uri", "https://app.example/cb")
    assert "unauthorized_client" in line.refused("token", "issue", "app")
    assert "invalid_target" in line.refused("token", "issue", "first-client", "--resource", "https://x.example")
    assert "did you mean first-client?" in line.refused("token", "issue", "first-clinet")
    assert "invalid_scope" in line.refused("token", "issue", "first-client", "--scope", 'a"b')
    line("client", "disable", "first-client", "--yes")
    assert "disabled" in line.refused("token", "issue", "first-client")


def test_inspect_an_access_token(line: Line) -> None:
    token = line("token", "issue", "first-client").stdout
    seen = line.json("token", "inspect", typed=token)
    assert seen.keys() == {"kind", "active", "reason", "header", "claims"}
    assert (seen["kind"], seen["active"], seen["reason"]) == ("access_token", True, None)
    assert seen["header"]["typ"] == "at+jwt"
    assert seen["claims"]["exp"] == START + 60 + 900
    result = line("token", "inspect", typed=token)
    assert "2023-11-14 22:29:20Z" in result.stdout
    assert token.strip() not in result.output
    line.clock.advance(900)
    assert line.json("token", "inspect", typed=token)["reason"] == "expired"


def test_inspect_says_why_a_token_of_somebody_else_is_not_active(line: Line) -> None:
    token = line("token", "issue", "first-client").stdout.strip()
    head, body, _ = token.split(".")
    forged = line.json("token", "inspect", typed=f"{head}.{body}.AAAA")
    assert forged["active"] is False
    assert forged["reason"]
    assert forged["claims"]["client_id"] == "first-client"


@pytest.mark.parametrize("typed", ["hello", "a.b.c", "mmr_short", "e30.e30"])
def test_inspect_refuses_what_is_no_token(line: Line, typed: str) -> None:
    assert "not a token" in line.refused("token", "inspect", typed=typed)


def test_a_token_is_expected_on_standard_input(line: Line) -> None:
    for verb in ("inspect", "revoke"):
        assert "expected on standard input" in line.refused("token", verb, typed="")


def test_revoke_an_access_token(line: Line) -> None:
    token = line("token", "issue", "first-client").stdout
    revoked = line.json("token", "revoke", typed=token)
    assert (revoked["kind"], revoked["revoked"]) == ("access_token", True)
    assert line.json("token", "inspect", typed=token)["reason"] == "revoked"
    assert "nothing to revoke" in line.refused("token", "revoke", typed=token)
    assert line.json("audit", "list", "--limit", "1")[0]["detail"] == {"jti": revoked["jti"]}


def test_inspect_and_revoke_a_refresh_token(line: Line, refresh_token: str) -> None:
    seen = line.json("token", "inspect", typed=refresh_token)
    assert (seen["kind"], seen["active"], seen["generation"]) == ("refresh_token", True, 1)
    assert seen["grant"]["client_id"] == demo.NATIVE_APP
    assert demo.NATIVE_APP in line("token", "inspect", typed=refresh_token).stdout
    gid = seen["grant"]["gid"]
    assert line.json("token", "revoke", typed=refresh_token) == {"kind": "refresh_token", "gid": gid, "revoked": True}
    again = line("token", "revoke", "--json", typed=refresh_token)
    assert json.loads(again.stdout)["revoked"] is False
    assert "ended already" in again.stderr
    after = line.json("token", "inspect", typed=refresh_token)
    assert (after["active"], after["reason"]) == (False, "the grant ended: revoked_by_operator")
    events = [event["event"] for event in line.json("audit", "list", "--gid", gid)]
    assert events == ["grants.ended", "grants.ended", "grant.created"]


def test_why_a_refresh_token_is_not_active(line: Line, refresh_token: str) -> None:
    flipped = refresh_token[:-3] + ("AAA" if refresh_token[-3:] != "AAA" else "BBB")
    assert "not genuine" in line.json("token", "inspect", typed=flipped)["reason"]
    line.clock.advance(4 * 86400)
    assert line.json("token", "inspect", typed=refresh_token)["reason"] == "not used for too long"
    line.clock.advance(4 * 86400)
    assert line.json("token", "inspect", typed=refresh_token)["reason"] == "the grant expired"


def test_the_demo_world_is_as_real_as_any(line: Line, refresh_token: str) -> None:
    assert {client["client_id"] for client in line.json("client", "list")} >= {"demo-app", "demo-cli", "demo-service"}
    secret = demo.Demo(
        password="pass-1", service_secret="pass-2", app_secret="pass-3", app_redirect_uri="u", refresh_token="pass-4"
    )
    assert "pass-" not in repr(secret)


@pytest.mark.parametrize("verb", ["inspect", "revoke"])
def test_a_token_on_the_command_line_is_not_repeated(line: Line, verb: str, refresh_token: str) -> None:
    said = line.refused("token", verb, refresh_token)
    assert "standard input" in said
    assert f"mintmark token {verb} <" in said
    assert refresh_token not in said
