"""`mintmark keys`: the schedule seen, hurried on, and cut short."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.world import FixedClock, SeededRandomness
from tests.unit.cli.command_line import PASSWORD, START, Line

from mintmark.authority import keyring
from mintmark.authority.keyring import Keyring
from mintmark.authority.policy import DAY, Policy
from mintmark.authority.wrapping import MasterKeys
from mintmark.jose import jwk
from mintmark.oauth.errors import OAuthError
from mintmark.storage.memory import MemoryStore

SHAPE = {"kid", "alg", "state", "published_at", "active_at", "retired_at", "removed_at", "compromised"}
JWKS_LIFETIME = Policy(issuer="x").jwks_lifetime


def signing(line: Line, alg: str) -> dict[str, object]:
    (key,) = [key for key in line.json("keys", "list") if key["alg"] == alg and key["state"] == "active"]
    return dict(key)


def test_there_is_a_signing_key_and_a_successor_for_each_algorithm(line: Line) -> None:
    keys = line.json("keys", "list")
    assert all(key.keys() == SHAPE for key in keys)
    assert sorted((key["alg"], key["state"]) for key in keys) == [
        ("ES256", "active"),
        ("ES256", "published"),
        ("RS256", "active"),
        ("RS256", "published"),
    ]
    assert line.json("key", "list") == keys
    assert len(line("keys", "list").stdout.splitlines()) == 5


def test_rotate_brings_the_successor_forward(line: Line) -> None:
    before = signing(line, "RS256")
    rotated = line.json("keys", "rotate")
    assert [key["alg"] for key in rotated] == ["RS256", "ES256"]
    assert {key["active_at"] for key in rotated} == {START + JWKS_LIFETIME}
    line.clock.advance(JWKS_LIFETIME)
    after = signing(line, "RS256")
    assert after["kid"] == rotated[0]["kid"] != before["kid"]
    assert any(key["kid"] == before["kid"] and key["state"] == "retired" for key in line.json("keys", "list"))


def test_rotate_one_algorithm_only(line: Line) -> None:
    line.clock.advance(DAY)
    before = signing(line, "RS256")
    (rotated,) = line.json("keys", "rotate", "--alg", "ES256")
    assert (rotated["alg"], rotated["state"]) == ("ES256", "active")
    assert signing(line, "ES256")["kid"] == rotated["kid"]
    assert signing(line, "RS256") == before
    assert sum(key["alg"] == "ES256" and key["state"] == "published" for key in line.json("keys", "list")) == 1


def test_rotate_refuses_an_algorithm_that_is_not_kept(line: Line) -> None:
    assert "only RS256 ES256" in line.refused("keys", "rotate", "--alg", "EdDSA")


def test_retire_wants_to_hear_that_it_is_an_emergency(line: Line) -> None:
    kid = str(signing(line, "RS256")["kid"])
    why = line.refused("keys", "retire", kid)
    assert "mintmark keys rotate" in why
    assert "--emergency" in why


def test_retire_in_an_emergency_revokes_what_the_key_signed(line: Line) -> None:
    token = line.json("token", "issue", "first-client")["access_token"]
    assert line.json("token", "inspect", typed=token)["active"] is True
    line.clock.advance(JWKS_LIFETIME)
    kid = str(signing(line, "RS256")["kid"])
    result = line("keys", "retire", kid[:10], "--emergency", "--json", typed="y\n")
    assert json.loads(result.stdout) == {
        "kid": kid,
        "alg": "RS256",
        "retired": True,
        "signs_again_at": line.clock.at,
    }
    assert "RS256 signs again now" in result.stderr
    assert line.json("token", "inspect", typed=token)["active"] is False
    assert kid not in [key["kid"] for key in line.json("keys", "export", as_is=True)["keys"]]
    fresh = line.json("token", "issue", "first-client")["access_token"]
    assert line.json("token", "inspect", typed=fresh)["active"] is True
    assert sum(key["state"] == "published" and key["alg"] == "RS256" for key in line.json("keys", "list")) == 1
    assert "gone already" in line.refused("keys", "retire", kid, "--emergency", "--yes")


def test_an_emergency_before_caches_know_the_successor_says_when_it_signs_again(line: Line) -> None:
    kid = str(signing(line, "ES256")["kid"])
    result = line("keys", "retire", kid, "--emergency", "--yes")
    assert "ES256 signs again at 2023-11-14 22:18:20Z" in result.stderr
    line("doctor", expect=1)


def test_retire_asks_first_and_knows_its_keys(line: Line) -> None:
    kid = str(signing(line, "RS256")["kid"])
    assert "nothing was changed" in line.refused("keys", "retire", kid, "--emergency", typed="n\n")
    assert signing(line, "RS256")["kid"] == kid
    assert "`mintmark keys list`" in line.refused("keys", "retire", "!", "--emergency", "--yes")
    assert "keys begin with" in line.refused("keys", "retire", "", "--emergency", "--yes")


def test_export_prints_the_public_keys_and_nothing_private(line: Line) -> None:
    exported = line.json("keys", "export", as_is=True)
    assert {key["kid"] for key in exported["keys"]} == {key["kid"] for key in line.json("keys", "list")}
    assert all(not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys() for key in exported["keys"])
    assert [key["kid"] for key in exported["keys"][:2]] != []


def test_rewrap_follows_a_new_master_key(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert line.json("keys", "rewrap") == {"rewrapped": 0}
    (tmp_path / "mintmark.key").rename(tmp_path / "old.key")
    (tmp_path / "mintmark.key").write_text("ab" * 32)
    (tmp_path / "mintmark.key").chmod(0o600)
    why = line.refused("keys", "list")
    assert "the master key is not the one" in why
    monkeypatch.setenv("MINTMARK_PREVIOUS_MASTER_KEYS_FILE", "old.key")
    assert line.json("keys", "rewrap") == {"rewrapped": 5}
    monkeypatch.delenv("MINTMARK_PREVIOUS_MASTER_KEYS_FILE")
    assert len(line.json("keys", "list")) == 4
    assert PASSWORD not in line("keys", "list").output


@pytest.mark.anyio
@pytest.mark.parametrize("verb", ["rotate", "retire"])
@pytest.mark.parametrize(("losses", "is_done"), [(1, True), (5, False)])
async def test_a_lost_race_is_decided_again(
    monkeypatch: pytest.MonkeyPatch, verb: str, losses: int, is_done: bool
) -> None:
    store, clock = MemoryStore(), FixedClock()
    ring = keyring.Keyring(Policy(issuer="x", signing_algorithms=("ES256",)), MasterKeys(bytes(32)), SeededRandomness())
    await keyring.keep_up(ring, store, clock)
    real = store.keys.change
    lost: list[int] = []

    async def lose(*args: Any, **kwargs: Any) -> bool:
        if len(lost) < losses:
            lost.append(1)
            return False
        return await real(*args, **kwargs)

    monkeypatch.setattr(store.keys, "change", lose)
    clock.advance(DAY)
    kid = ring.signing_key("ES256", clock.now()).kid

    async def act() -> object:
        if verb == "rotate":
            return await keyring.rotate(ring, store, clock, "ES256")
        return await keyring.retire_emergency(ring, store, clock, kid)

    if is_done:
        assert await act() is not None
        assert ring.signing_key("ES256", clock.now()).kid != kid
    else:
        with pytest.raises(OAuthError, match="temporarily_unavailable"):
            await act()
        assert ring.signing_key("ES256", clock.now()).kid == kid


def test_no_kid_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter(["-looks-like-an-option", "does-not"])
    generate = jwk.generate
    monkeypatch.setattr(jwk, "generate", lambda alg: generate(alg, kid=next(made)))
    keyring = Keyring(Policy(issuer="https://id.example"), MasterKeys(bytes(32)), SeededRandomness())
    assert keyring.make("ES256").kid == "does-not"
