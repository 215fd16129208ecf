"""An application's own verifier, made for a real issuer, trusts the mint for a while."""

import pytest

from mintmark.testing import Mint
from mintmark.verifier import Issuer, TokenRejected, Verifier, VerifierUnavailable

ENVIRONMENT = {"MINTMARK_ISSUER": "https://auth.example", "MINTMARK_AUDIENCE": "https://orders.example"}


def test_it_accepts_the_mint_s_tokens_while_that_lasts(mint: Mint) -> None:
    verifier = Verifier.from_env(ENVIRONMENT)
    with mint.adopt(verifier) as same:
        assert same is verifier
        token = mint.token()
        assert verifier.verify(token).audience == ("https://orders.example",)
        mint.verifier().verify(token)
    assert mint.audience == "https://api.test"
    assert "mint.test" not in str(verifier.metrics())
    assert not verifier._results.young


def test_afterwards_it_trusts_its_own_issuer_and_not_the_mint(mint: Mint) -> None:
    with Mint("https://auth.example", "https://orders.example") as own:
        verifier = own.verifier()
        before = own.token()
        verifier.verify(before)
        with mint.adopt(verifier):
            token = mint.token()
            verifier.verify(token)
            with pytest.raises(TokenRejected):
                verifier.verify(before)
        verifier.verify(before)
        with pytest.raises(TokenRejected):
            verifier.verify(token)


def test_it_keeps_its_audience(mint: Mint) -> None:
    verifier = Verifier("https://auth.example", audience=["https://b.example", "https://a.example"])
    assert verifier.audience == {"https://a.example", "https://b.example"}
    with mint.adopt(verifier):
        assert verifier.audience == {"https://a.example", "https://b.example"}
        assert verifier.verify(mint.token()).audience == ("https://a.example",)
        verifier.verify(mint.token(audience="https://b.example"))
        with pytest.raises(TokenRejected) as caught:
            verifier.verify(mint.token(audience="https://api.test"))
    assert caught.value.code == "wrong_audience"


def test_several_issuers_are_all_replaced(mint: Mint) -> None:
    verifier = Verifier([Issuer(url=f"https://{one}.example", audience=f"urn:{one}") for one in ("a", "b")])
    with mint.adopt(verifier):
        assert verifier.verify(mint.token(audience="urn:b")).issuer == mint.issuer
    assert "https://b.example" in str(verifier.metrics())


def test_it_hears_of_revocations_rotations_and_outages(mint: Mint) -> None:
    verifier = Verifier(
        "https://auth.example", audience="urn:orders", on_stale="deny", client_id="orders", client_secret="s"
    )
    with mint.adopt(verifier):
        token = mint.token()
        verifier.verify(token)
        mint.revoke(token)
        with pytest.raises(TokenRejected):
            verifier.verify(token)
        mint.rotate()
        mint.clock(+60)
        good = mint.token()
        verifier.verify(good)
        with mint.outage():
            mint.clock(+60)
            with pytest.raises(VerifierUnavailable):
                verifier.verify(good)


def test_it_keeps_its_options(mint: Mint) -> None:
    strict = Verifier("https://auth.example", audience="urn:orders", leeway=0)
    asking = Verifier(
        "https://auth.example",
        audience="urn:orders",
        introspect="always",
        on_stale="introspect",
        client_id="orders",
        client_secret="s",
    )
    with mint.adopt(strict), pytest.raises(TokenRejected):
        strict.verify(mint.token(expires_in=-1))
    with mint.adopt(asking):
        asking.verify(mint.token())
        with mint.outage():
            asking.verify(mint.token())
            mint.clock(+16)
            with pytest.raises(VerifierUnavailable):
                asking.verify(mint.token())


def test_it_is_let_go_when_the_test_fails(mint: Mint) -> None:
    verifier = Verifier.from_env(ENVIRONMENT)
    with pytest.raises(ZeroDivisionError), mint.adopt(verifier):
        raise ZeroDivisionError
    assert mint.audience == "https://api.test"
    with mint.adopt(verifier):
        verifier.verify(mint.token())
