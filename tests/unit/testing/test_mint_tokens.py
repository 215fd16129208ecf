"""Tokens as a mint makes them, and the verifiers that judge them."""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest

from mintmark.jose import jwk, jws, strict_json
from mintmark.testing import Mint
from mintmark.testing.keys import _POOL
from mintmark.verifier import RequirementNotMet, TokenRejected


def content(token: str, mint: Mint) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, by the keys that the mint publishes."""
    url = f"{mint.issuer}/.well-known/jwks.json"
    answer = mint.transport.request("GET", url, headers={}, timeout=1, max_bytes=65536)
    verified = jws.verify(token, jwk.KeySet.from_jwks(strict_json.loads_object(answer.body)))
    return dict(verified.header), strict_json.loads_object(verified.payload)


@pytest.mark.spec("RFC 9068 §2")
def test_a_token_of_a_person_says_what_the_authority_says_of_one(mint: Mint) -> None:
    header, claims = content(mint.token(scope="orders:read", roles=["clerk"], permissions=["refund"]), mint)
    issued, _ = content(mint.tokens(scope="orders:read")["access_token"], mint)
    assert header == issued
    assert header["typ"] == "at+jwt"
    assert header["alg"] == "RS256"
    assert claims.pop("jti") != claims.pop("gid")
    assert claims == {
        "iss": "https://mint.test",
        "sub": "ada",
        "aud": "https://api.test",
        "exp": mint.now() + 900,
        "iat": mint.now(),
        "nbf": mint.now() - 30,
        "client_id": "app",
        "scope": "orders:read",
        "roles": ["clerk"],
        "permissions": ["refund"],
        "auth_time": mint.now(),
        "acr": "pwd",
        "amr": ["pwd"],
    }


@pytest.mark.spec("RFC 9068 §2")
def test_its_claims_are_those_of_a_token_that_went_through_a_grant(mint: Mint) -> None:
    _, made = content(mint.token(scope="orders:read"), mint)
    _, issued = content(mint.tokens(scope="orders:read")["access_token"], mint)
    assert made.keys() == issued.keys()
    different = {name for name in made if made[name] != issued[name]}
    assert different == {"jti", "gid"}


def test_a_client_that_speaks_for_itself_has_not_signed_in(mint: Mint) -> None:
    _, claims = content(mint.token(sub="worker", client_id="worker"), mint)
    assert claims["sub"] == claims["client_id"] == "worker"
    assert not {"gid", "auth_time", "acr", "amr"} & claims.keys()


def test_any_claim_can_be_set_and_left_out(mint: Mint) -> None:
    _, claims = content(mint.token(aud=["a", "b"], acr="mfa", tenant={"id": 7}, jti=None, nbf=None), mint)
    assert claims["aud"] == ["a", "b"]
    assert claims["acr"] == "mfa"
    assert claims["tenant"] == {"id": 7}
    assert not {"jti", "nbf"} & claims.keys()


@pytest.mark.parametrize(
    ("argument", "claim"),
    [
        *(("sub", "sub"), ("scope", "scope"), ("client_id", "client_id")),
        *(("roles", "roles"), ("permissions", "permissions"), ("expires_in", "exp"), ("aud", "aud")),
    ],
)
def test_none_leaves_out_the_claim_of_an_argument_and_no_other(mint: Mint, argument: str, claim: str) -> None:
    given: dict[str, Any] = {"roles": "clerk", "permissions": "refund"}
    _, whole = content(mint.token(**given), mint)
    _, claims = content(mint.token(**(given | {argument: None})), mint)
    assert whole.keys() - claims.keys() == {claim}
    assert claims.keys() <= whole.keys()


def test_names_are_one_text_or_several(mint: Mint) -> None:
    _, text = content(mint.token(scope="a b", roles="r s", audience="https://one.test"), mint)
    _, several = content(mint.token(scope=["a", "b"], roles=["r", "s"], audience=["https://one.test"]), mint)
    assert (text["scope"], text["roles"], text["aud"]) == ("a b", ["r", "s"], "https://one.test")
    assert (several["scope"], several["roles"], several["aud"]) == ("a b", ["r", "s"], "https://one.test")


def test_its_verifier_accepts_it_and_reads_it(mint: Mint) -> None:
    token = mint.verifier().verify(mint.token(sub="bob", scope="orders:read", roles=["clerk"]))
    assert (token.sub, token.client_id, token.issuer) == ("bob", "app", mint.issuer)
    token.require(scope="orders:read", role="clerk")
    with pytest.raises(RequirementNotMet):
        token.require(scope="orders:write")


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"iss": "https://elsewhere.test"}, "wrong_issuer"),
        ({"audience": "https://elsewhere.test"}, "wrong_audience"),
        ({"expires_in": -60}, "expired"),
        ({"nbf": 4_000_000_000, "exp": 4_000_000_900}, "not_yet_valid"),
        ({"jti": None}, "missing_claim"),
        ({"sub": ""}, "bad_claim"),
    ],
)
def test_its_verifier_rejects_what_is_wrong(mint: Mint, overrides: dict[str, Any], code: str) -> None:
    verifier = mint.verifier()
    verifier.verify(mint.token())
    with pytest.raises(TokenRejected) as caught:
        verifier.verify(mint.token(**overrides))
    assert caught.value.code == code


@pytest.mark.spec("RFC 6750 §2.1")
def test_headers_carry_such_a_token(mint: Mint) -> None:
    headers = mint.headers(sub="bob", scope="orders:read")
    assert headers.keys() == {"Authorization"}
    scheme, _, token = headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    assert mint.verifier().verify(token).sub == "bob"


def test_a_mint_and_its_verifier_go_by_other_names(mint: Mint) -> None:
    with Mint(issuer="https://id.example/tenant", audience="urn:orders") as other:
        assert other.verifier().verify(other.token()).audience == ("urn:orders",)
        assert other.verifier(["urn:a", "urn:b"]).verify(other.token(audience="urn:b")).issuer == other.issuer
        with pytest.raises(TokenRejected) as caught:
            other.verifier("urn:else").verify(other.token())
    assert caught.value.code == "wrong_audience"


def test_a_verifier_has_the_options_it_is_given(mint: Mint) -> None:
    late = mint.token(expires_in=-20)
    mint.verifier(leeway=30).verify(late)
    with pytest.raises(TokenRejected) as caught:
        mint.verifier(leeway=0).verify(late)
    assert caught.value.code == "expired"


def test_two_mints_do_not_trust_each_other_though_they_go_by_the_same_name(mint: Mint) -> None:
    with Mint(mint.issuer, mint.audience) as other:
        other.verifier().verify(other.token())
        for verifier, token in ((mint.verifier(), other.token()), (other.verifier(), mint.token())):
            with pytest.raises(TokenRejected) as caught:
                verifier.verify(token)
            assert caught.value.code == "unknown_key"


def test_keys_are_lent_by_one_mint_to_the_next_and_never_shared() -> None:
    def keys(mint: Mint) -> set[str]:
        mint.token()
        return set(mint._issuer.keyring._lent)

    with Mint() as one, Mint() as two:
        first, second = keys(one), keys(two)
        assert not first & second
    with patch.object(jwk, "generate", side_effect=AssertionError("a key was made")), Mint() as three:
        assert len(keys(three)) == 2
    assert len(first) == len(second) == 2


def test_a_mint_that_is_let_go_gives_its_keys_back() -> None:
    mint = Mint()
    kid = jws_header(mint.token())["kid"]
    assert kid not in {key.kid for key in _POOL._free}
    del mint
    gc.collect()
    assert kid in {key.kid for key in _POOL._free}


def jws_header(token: str) -> dict[str, Any]:
    from mintmark.jose import base64url

    return strict_json.loads_object(base64url.decode(token.partition(".")[0]))


@pytest.mark.parametrize(
    "use",
    [
        lambda mint: mint.token(),
        lambda mint: mint.tokens(),
        lambda mint: mint.client(),
        lambda mint: mint.verifier(),
        lambda mint: mint.rotate(),
        lambda mint: mint.retire(),
        lambda mint: mint.clock(1),
    ],
    ids=["token", "tokens", "client", "verifier", "rotate", "retire", "clock"],
)
def test_a_closed_mint_says_so_and_signs_nothing_with_keys_that_others_have_now(use: Callable[[Mint], object]) -> None:
    with Mint() as mint:
        assert mint.token()
    before = mint.now()
    with pytest.raises(RuntimeError, match="this mint is closed"):
        use(mint)
    assert mint.now() == before


def test_a_mint_can_be_closed_in_an_outage_that_ends_afterwards() -> None:
    with Mint() as mint:
        verifier = mint.verifier()
        token = mint.token()
        with mint.outage():
            mint.close()
        with pytest.raises(RuntimeError, match="this mint is closed"):
            mint.revoke(token)
    assert verifier.verify(token).sub == "ada"


def test_parallel_verifiers_in_parallel_threads(mint: Mint) -> None:
    verifiers = [mint.verifier() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda n: mint.token(sub=f"user{n}"), range(40)))
        asked = [(verifiers[n % 4], token) for n, token in enumerate(tokens)]
        seen = list(pool.map(lambda one: one[0].verify(one[1]).sub, asked))
    assert seen == [f"user{n}" for n in range(40)]


async def test_it_works_inside_a_running_event_loop(mint: Mint) -> None:
    verifier = mint.verifier()
    token = mint.token()
    assert (await verifier.averify(token)).sub == "ada"
    await asyncio.to_thread(mint.revoke, token)
    with pytest.raises(TokenRejected):
        await verifier.averify(token)
    other = mint.tokens(scope="orders:read")["access_token"]
    verifier.verify(other)
    mint.revoke(other)
    with pytest.raises(TokenRejected):
        verifier.verify(other)


def test_no_thread_is_started(mint: Mint) -> None:
    import threading

    before = threading.active_count()
    verifier = mint.verifier()
    verifier.verify(mint.token())
    mint.revoke(mint.token())
    mint.rotate()
    verifier.verify(mint.token())
    assert threading.active_count() == before
