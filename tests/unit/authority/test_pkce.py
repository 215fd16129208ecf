"""PKCE (RFC 7636)."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.oauth.pkce import challenge_of, is_challenge, verifies

UNRESERVED = string.ascii_letters + string.digits + "-._~"


@pytest.mark.spec("RFC 7636 appendix B")
def test_the_example_of_the_standard() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert challenge_of(verifier) == challenge
    assert verifies(verifier, challenge)
    assert is_challenge(challenge)


@pytest.mark.spec("P03")
@given(st.text(UNRESERVED, min_size=43, max_size=128), st.text(UNRESERVED, min_size=43, max_size=128))
def test_a_verifier_and_another(verifier: str, other: str) -> None:
    challenge = challenge_of(verifier)
    assert is_challenge(challenge)
    assert verifies(verifier, challenge)
    assert verifies(other, challenge) == (other == verifier)


@pytest.mark.spec("P03")
@pytest.mark.parametrize(
    "verifier",
    [
        "",
        "v",
        "v" * 42,
        "v" * 129,
        "v" * 42 + " ",
        "v" * 42 + "+",
        "v" * 42 + "=",
        "v" * 43 + "\n",
        "é" * 43,
        "v" * 42 + "\0",
    ],
)
def test_a_malformed_verifier_never_fits(verifier: str) -> None:
    challenge = challenge_of(verifier) if verifier.isascii() else challenge_of("v" * 43)
    assert not verifies(verifier, challenge)


@pytest.mark.spec("P03", "P05")
def test_the_challenge_is_not_its_verifier() -> None:
    challenge = challenge_of("v" * 43)
    assert not verifies(challenge, challenge)


@pytest.mark.parametrize(
    "text", ["", "A" * 42, "A" * 44, "A" * 42 + "=", "A" * 42 + "+", "A" * 42 + "~", "A" * 43 + "\n", "é" * 43]
)
def test_what_is_no_challenge(text: str) -> None:
    assert not is_challenge(text)
