"""What happens to tokens: they are revoked, keys change, the issuer is away, time passes."""

import pytest

from mintmark.testing import Mint
from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable


def rejection(verifier: Verifier, token: str) -> str | None:
    """Why the token is rejected; ``None`` if it is accepted."""
    try:
        verifier.verify(token)
    except TokenRejected as rejected:
        return rejected.code
    return None


@pytest.mark.spec("invariant I6", "RFC 7009 §2.1")
def test_a_revoked_token_is_rejected_at_once_by_every_verifier(mint: Mint) -> None:
    verifiers = [mint.verifier() for _ in range(3)]
    token, other = mint.token(), mint.token()
    assert [rejection(verifier, token) for verifier in verifiers] == [None] * 3
    mint.revoke(token)
    assert [rejection(verifier, token) for verifier in verifiers] == ["revoked"] * 3
    assert rejection(mint.verifier(), token) == "revoked"
    assert [rejection(verifier, other) for verifier in verifiers] == [None] * 3


def test_many_revocations_are_all_heard(mint: Mint) -> None:
    from mintmark.testing import edge

    verifier = mint.verifier()
    before = edge._EVENT_ENTRIES
    edge._EVENT_ENTRIES = 2  # type: ignore[misc]
    try:
        tokens = [mint.token() for _ in range(5)]
        with mint.outage():
            for token in tokens:
                mint.revoke(token)
    finally:
        edge._EVENT_ENTRIES = before  # type: ignore[misc]
    assert {rejection(verifier, token) for token in tokens} == {"revoked"}
    assert rejection(verifier, mint.token()) is None


def test_revoking_a_refresh_token_ends_what_came_of_its_grant(mint: Mint) -> None:
    verifier = mint.verifier()
    tokens, others = mint.tokens(), mint.tokens()
    assert rejection(verifier, tokens["access_token"]) is None
    mint.revoke(tokens["refresh_token"])
    assert rejection(verifier, tokens["access_token"]) == "revoked"
    assert rejection(verifier, others["access_token"]) is None


def test_a_verifier_that_is_not_registered_hears_of_no_revocation(mint: Mint) -> None:
    deaf = mint.verifier(client_id=None)
    token = mint.token()
    mint.revoke(token)
    assert rejection(deaf, token) is None
    assert rejection(mint.verifier(), token) == "revoked"


def test_what_cannot_be_revoked_is_said(mint: Mint) -> None:
    with Mint() as other:
        for token in (other.token(), other.tokens()["refresh_token"], "garbage"):
            with pytest.raises(ValueError, match="no token of this mint"):
                mint.revoke(token)
    with pytest.raises(ValueError, match="jti"):
        mint.revoke(mint.token(jti=None))
    mint.revoke(mint.token())


@pytest.mark.spec("invariant I7")
def test_after_a_rotation_another_key_signs_and_old_tokens_stay_good(mint: Mint) -> None:
    verifier = mint.verifier()
    tokens = [mint.token()]
    for _ in range(3):
        mint.rotate()
        tokens.append(mint.token())
        assert rejection(verifier, tokens[-1]) is None
    assert len({token.partition(".")[0] for token in tokens}) == 4
    assert [rejection(verifier, token) for token in tokens] == [None] * 4


def test_a_verifier_learns_of_an_unknown_key_by_asking_for_it(mint: Mint) -> None:
    verifier = mint.verifier()
    fetches = f'mintmark_verifier_key_fetches_total{{issuer="{mint.issuer}"}}'
    for _ in range(2):  # the first successor was published already when the verifier was made
        mint.rotate()
    before = verifier.metrics()[fetches]
    assert rejection(verifier, mint.token()) is None
    assert verifier.metrics()[fetches] == before + 1


@pytest.mark.spec("invariant I7")
def test_tokens_of_a_retired_key_are_rejected_and_another_key_signs(mint: Mint) -> None:
    verifier = mint.verifier()
    stolen = mint.token()
    mint.rotate()
    good = mint.token()
    assert rejection(verifier, good) is None
    mint.retire()
    assert rejection(verifier, good) == "revoked"
    assert rejection(verifier, stolen) is None
    assert rejection(verifier, mint.token()) is None
    assert rejection(mint.verifier(), good) is not None


def test_during_an_outage_what_is_known_goes_on_and_nothing_new_is_heard(mint: Mint) -> None:
    verifier = mint.verifier()
    token, revoked = mint.token(), mint.token()
    with mint.outage():
        mint.revoke(revoked)
        assert rejection(verifier, token) is None
        assert rejection(verifier, revoked) is None
        with pytest.raises(VerifierUnavailable):
            mint.verifier().verify(token)
    assert rejection(verifier, token) is None
    assert rejection(verifier, revoked) == "revoked"


def test_a_verifier_made_in_an_outage_works_once_it_is_over(mint: Mint) -> None:
    with mint.outage():
        verifier = mint.verifier()
        with pytest.raises(VerifierUnavailable):
            verifier.verify(mint.token())
    assert rejection(verifier, mint.token()) is None


def test_a_key_that_came_in_an_outage_is_known_after_it(mint: Mint) -> None:
    verifier = mint.verifier()
    with mint.outage():
        mint.rotate()
        mint.rotate()
        assert rejection(verifier, mint.token()) == "unknown_key"
    assert rejection(verifier, mint.token()) is None


@pytest.mark.parametrize("seconds", [1, 90, 86400])
def test_time_passes_and_verifiers_stay_fresh(mint: Mint, seconds: int) -> None:
    verifier = mint.verifier(on_stale="deny")
    began = mint.now()
    short, long = mint.token(expires_in=seconds - 30), mint.token(expires_in=seconds + 10)
    mint.clock(+seconds)
    assert mint.now() == began + seconds
    assert rejection(verifier, short) == "expired"
    assert rejection(verifier, long) is None
    assert rejection(verifier, mint.token()) is None


def test_in_an_outage_time_makes_verifiers_stale(mint: Mint) -> None:
    patient, strict = mint.verifier(on_stale="serve"), mint.verifier(on_stale="deny")
    token = mint.token()
    with mint.outage():
        mint.clock(+14)
        assert rejection(strict, token) is None
        mint.clock(+2)
        assert rejection(patient, token) is None
        with pytest.raises(VerifierUnavailable):
            strict.verify(token)
    assert rejection(strict, token) is None


def test_time_can_be_set_back(mint: Mint) -> None:
    verifier = mint.verifier()
    token = mint.token()
    mint.clock(-3600)
    assert rejection(verifier, token) == "not_yet_valid"
    assert rejection(verifier, mint.token()) is None
    mint.clock(+3600)
    assert rejection(verifier, token) is None


def test_a_month_passes_and_the_keys_have_rotated_by_themselves(mint: Mint) -> None:
    verifier = mint.verifier()
    headers = {mint.token().partition(".")[0]}
    for _ in range(3):
        mint.clock(+31 * 86400)
        token = mint.token()
        assert rejection(verifier, token) is None
        headers.add(token.partition(".")[0])
    assert len(headers) == 4


def introspections(verifier: Verifier) -> tuple[float, float]:
    """How many there were, and how many of them failed."""
    found = {name.partition("{")[0]: count for name, count in verifier.metrics().items()}
    return found["mintmark_verifier_introspections_total"], found["mintmark_verifier_introspection_failures_total"]


@pytest.mark.parametrize(("on_stale", "passes_when_stale"), [("serve", True), ("introspect", False), ("deny", False)])
def test_what_an_outage_means_where_the_issuer_is_always_asked(
    mint: Mint, on_stale: str, *, passes_when_stale: bool
) -> None:
    verifier = mint.verifier(introspect="always", on_stale=on_stale)
    with mint.outage():
        verifier.verify(mint.token())
        mint.clock(+16)
        if passes_when_stale:
            verifier.verify(mint.token())
        else:
            with pytest.raises(VerifierUnavailable):
                verifier.verify(mint.token())
    verifier.verify(mint.token())


def test_where_the_issuer_is_always_asked_it_is_asked(mint: Mint) -> None:
    verifier = mint.verifier(introspect="always")
    token = mint.token(scope="orders:read")
    assert verifier.verify(token).scopes == {"orders:read"}
    assert introspections(verifier) == (1, 0)
    with mint.outage():
        verifier.verify(mint.token())
    assert introspections(verifier) == (2, 1)
    mint.revoke(token)
    assert rejection(verifier, token) in {"revoked", "inactive"}
    assert rejection(verifier, mint.token()) is None
