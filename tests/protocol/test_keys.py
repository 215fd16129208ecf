"""Published keys and their rotation (RFC 7517, design invariant I7)."""

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from tests.protocol.answers import assert_error, assert_tokens, part
from tests.support.installation import ISSUER, Installation, install
from tests.support.world import FixedClock, SeededRandomness

from mintmark import bootstrap
from mintmark.authority import keyring, keys
from mintmark.authority.model import AuditEvent
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Store
from mintmark.authority.wrapping import MasterKeys
from mintmark.oauth.revocations import Revocation
from mintmark.storage.sqlite import SQLiteStore

JWKS = "/.well-known/jwks.json"
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


async def jwks_of(mint: Installation) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the published keys by kid, and for how long they may be cached."""
    async with mint.http() as http:
        answer = await http.get(JWKS)
    assert answer.status_code == 200
    published = answer.json()["keys"]
    by_kid = {key["kid"]: key for key in published}
    assert len(by_kid) == len(published)
    return by_kid, int(answer.headers["cache-control"].partition("max-age=")[2])


async def issue(mint: Installation) -> str:
    token: str = assert_tokens(await mint.post("/token", "service", grant_type="client_credentials"))["access_token"]
    return token


@pytest.mark.spec("K01", "RFC 7517 §4")
async def test_the_jwks_is_public_and_says_what_each_key_is_for(mint: Installation) -> None:
    """No private member, kids unique, use and alg stated, RSA of 2048 bits at least."""
    async with mint.http() as http:
        answer = await http.get(JWKS)
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert set(answer.json()) == {"keys"}
    published, _ = await jwks_of(mint)
    assert {key["alg"] for key in published.values()} == {"RS256", "ES256"}
    for key in published.values():
        assert not PRIVATE & set(key)
        assert key["use"] == "sig"
        if key["kty"] == "RSA":
            modulus = base64.urlsafe_b64decode(key["n"] + "==")
            assert len(modulus) * 8 >= 2048
            assert modulus[0]
            assert key["e"] == "AQAB"
        else:
            assert (key["kty"], key["crv"]) == ("EC", "P-256")
    # Another implementation reads it, and a token verifies under it.
    token = await issue(mint)
    known = pyjwt.PyJWKSet.from_dict(answer.json())[part(token, 0)["kid"]]
    claims = pyjwt.decode(
        token,
        known,
        audience=None,
        options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims["iss"] == ISSUER


@pytest.mark.spec("K02", "invariant I7")
async def test_nothing_signed_ever_fails_at_a_verifier_while_keys_rotate() -> None:
    """A verifier that caches exactly as long as allowed, over several rotations: it knows every key before it is used."""
    policy = Policy(issuer=ISSUER, key_rotation_interval=3600, jwks_lifetime=300)
    mint = await install(policy=policy)
    cache: dict[str, dict[str, Any]] = {}
    fresh_until = 0
    used: list[str] = []
    alive: list[tuple[str, str, int]] = []
    for _ in range(3 * 3600 // 149):
        mint.clock.advance(149)
        await mint.authority.upkeep(1000)
        token = await issue(mint)
        claims, kid = part(token, 1), part(token, 0)["kid"]
        used += [kid] if kid not in used else []
        alive = [each for each in alive if each[2] > mint.clock.now()] + [(token, kid, claims["exp"])]
        if mint.clock.now() >= fresh_until:
            cache, max_age = await jwks_of(mint)
            assert 0 < max_age <= policy.jwks_lifetime
            fresh_until = mint.clock.now() + max_age
        assert {each_kid for _, each_kid, _ in alive} <= set(cache)
        assert all([await mint.is_active(each) for each, _, _ in alive[::5]])
    assert len(used) in {3, 4}


@pytest.mark.spec("K02", "invariant I7")
async def test_a_key_stays_until_its_last_token_is_dead_and_then_goes() -> None:
    """Published before it signs, retired afterwards, removed in the end."""
    policy = Policy(issuer=ISSUER, key_rotation_interval=3600, jwks_lifetime=300)
    mint = await install(policy=policy)
    last = await issue(mint)
    old = part(last, 0)["kid"]
    before, _ = await jwks_of(mint)
    mint.clock.advance(3599)
    last = await issue(mint)
    assert part(last, 0)["kid"] == old
    mint.clock.advance(1)
    new = part(await issue(mint), 0)["kid"]
    assert new != old
    assert new in before
    while await mint.is_active(last):
        assert old in (await jwks_of(mint))[0]
        mint.clock.advance(60)
        await mint.authority.upkeep(1000)
    mint.clock.advance(2 * policy.longest_token_lifetime)
    await mint.authority.upkeep(1000)
    await mint.authority.catch_up()
    assert old not in (await jwks_of(mint))[0]
    assert await mint.is_active(await issue(mint))


@pytest.mark.spec("K02", "invariant I7")
async def test_bringing_a_rotation_forward_breaks_no_cache(mint: Installation) -> None:
    """By hand, right after the keys were made: the successor signs only once every cache may have seen it."""
    published, max_age = await jwks_of(mint)
    authority, now = mint.authority, mint.clock.now()
    changed = keys.rotate(authority.keyring.rows, "RS256", authority.policy, now)
    assert await keyring.change(authority.keyring, authority.store, changed, AuditEvent(at=now, event="keys.rotated"))
    old = part(await issue(mint), 0)["kid"]
    mint.clock.advance(max_age - 1)
    assert part(await issue(mint), 0)["kid"] == old
    mint.clock.advance(1)
    new = part(await issue(mint), 0)["kid"]
    assert new != old
    assert new in published


@pytest.mark.spec("K02", "K03")
async def test_a_late_tick_costs_nothing(mint: Installation) -> None:
    """Nobody did the chores for a year: what signs is still published, and tokens verify."""
    mint.clock.advance(366 * 86400)
    token = await issue(mint)
    assert part(token, 0)["kid"] in (await jwks_of(mint))[0]
    assert await mint.is_active(token)


@pytest.mark.spec("K03", "invariant I9")
async def test_every_node_knows_every_key_at_issue_time(tmp_path: Path) -> None:
    """Four nodes on one database, rotation by any of them, a restart: each token verifies at each node at once."""
    clock, path = FixedClock(), tmp_path / "mintmark.db"
    store = SQLiteStore.open(path, now=clock.now())
    policy = Policy(issuer=ISSUER, key_rotation_interval=3600, jwks_lifetime=300)
    first = await install(store=store, clock=clock, policy=policy)
    nodes = [first, *[await first.node(f"node {number}") for number in range(3)]]
    kids, token = set(), await issue(first)
    for turn in range(9):
        clock.advance(1000)
        await nodes[turn % 4].authority.upkeep(1000)
        for node in nodes:
            await node.authority.catch_up()
        for node in nodes:
            token = await issue(node)
            kids.add(part(token, 0)["kid"])
            for other in nodes:
                assert part(token, 0)["kid"] in (await jwks_of(other))[0]
                assert await other.is_active(token)
    assert len(kids) == 3
    await store.close()
    again = SQLiteStore.open(path, now=clock.now())
    first.authority = replace(first.authority, store=again)
    restarted = await first.node("restarted")
    assert await restarted.is_active(token)
    assert part(await issue(restarted), 0)["kid"] in (await jwks_of(restarted))[0]
    await again.close()


@pytest.mark.spec("K03", "invariant I9")
async def test_two_nodes_that_start_at_once_agree_on_the_keys(store: Store) -> None:
    """Both find nothing and make keys: one set remains, and each knows what the other signs."""
    clock, master_keys = FixedClock(), MasterKeys(bytes(32))
    both = []
    for name in ("one", "other"):
        world = bootstrap.World(clock, SeededRandomness(name), has_cheap_passwords=True)
        both.append(Installation(bootstrap.assemble(Policy(issuer=ISSUER), store, master_keys, world), clock))
    await asyncio.gather(*(node.authority.start() for node in both))
    for node in both:
        await node.authority.catch_up()
    one, other = [(await jwks_of(node))[0] for node in both]
    assert one == other
    assert len(one) == 4  # for each algorithm one that signs and its successor
    assert both[0].authority.keyring.secrets.by_version == both[1].authority.keyring.secrets.by_version
    for node, checker in (both, both[::-1]):
        kid = node.authority.keyring.signing_key("ES256", clock.now()).kid
        assert kid in (await jwks_of(checker))[0]


@pytest.mark.spec("invariant I7")
async def test_a_node_that_has_heard_of_a_retirement_signs_with_that_key_no_more(mint: Installation) -> None:
    """It hears at once, and reads the keys a second later: what it signed in between would be dead when it is sent."""
    mint.clock.advance(86400)  # the standby key has been published for long enough
    other = await mint.node()
    kid = part(await issue(other), 0)["kid"]
    retired = await keyring.retire_emergency(mint.authority.keyring, mint.authority.store, mint.clock, kid)
    assert retired is not None
    await other.authority.denylist.pull(other.authority.store)
    token = await issue(other)
    assert part(token, 0)["kid"] != kid
    answer = await mint.post("/introspect", "service", token=token)
    assert answer.json()["active"] is True


@pytest.mark.spec("invariant I7", "invariant I4")
async def test_while_the_database_says_that_a_retired_key_signs_nothing_is_signed(mint: Installation) -> None:
    """As one that went back in time does until the retirement is written back."""
    kid = part(await issue(mint), 0)["kid"]
    mint.authority.denylist.hear([Revocation(kind="kid", value=kid, expires_at=mint.clock.now() + 900)])
    assert_error(await mint.post("/token", "service", grant_type="client_credentials"), "temporarily_unavailable", 503)
