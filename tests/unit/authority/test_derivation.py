"""Derived tokens: the same bytes each time, and nothing else is genuine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.authority.grants import code, refreshed

from mintmark.authority.derivation import MAX_GENERATION, PREFIXES, Presented, Purpose, Secrets, parse
from mintmark.authority.model import Grant
from mintmark.jose import base64url

ONE = Secrets({1: b"1" * 32})
GRANT = code()


def is_genuine(secrets: Secrets, token: str, purpose: Purpose, grant: Grant) -> bool:
    presented = parse(token, purpose)
    return presented is not None and secrets.is_genuine(presented, grant)


@given(
    generation=st.integers(0, MAX_GENERATION),
    purpose=st.sampled_from(list(PREFIXES)),
    grant_id=st.binary(min_size=16, max_size=16),
    salt=st.binary(min_size=16, max_size=16),
    secret=st.binary(min_size=32, max_size=32),
    version=st.integers(1, 255),
)
def test_round_trip(
    generation: int, purpose: Purpose, grant_id: bytes, salt: bytes, secret: bytes, version: int
) -> None:
    grant, secrets = code(id=grant_id, salt=salt), Secrets({version: secret})
    token = secrets.derive(purpose, grant, generation)
    presented = parse(token, purpose)
    assert presented is not None
    assert (presented.purpose, presented.version, presented.grant_id) == (purpose, version, grant_id)
    assert presented.generation == generation
    assert secrets.is_genuine(presented, grant)
    assert secrets.derive(purpose, grant, generation) == token
    assert token.startswith(PREFIXES[purpose])


def test_what_it_is_derived_from_and_what_not() -> None:
    """Nothing that changes in the row's life may change its tokens."""
    later = refreshed(7, advanced_at=9, idle_expires_at=9, access_expires_at=9, replays=9, ended_at=9, end_reason="x")
    assert ONE.derive("refresh", later, 3) == ONE.derive("refresh", GRANT, 3)
    tokens = [
        ONE.derive("refresh", GRANT, 3),
        ONE.derive("refresh", GRANT, 4),
        ONE.derive("refresh", code(salt=b"t" * 16), 3),
        ONE.derive("refresh", code(id=b"j" * 16), 3),
        Secrets({1: b"2" * 32}).derive("refresh", GRANT, 3),
        ONE.derive("code", GRANT, 3).replace("mmc_", "mmr_"),
    ]
    macs = {base64url.decode(token[4:])[21:] for token in tokens}
    assert len(macs) == len(tokens)


@pytest.mark.spec("T10")
@pytest.mark.parametrize("purpose", list(PREFIXES))
def test_any_byte_changed_makes_it_garbage(purpose: Purpose) -> None:
    token = ONE.derive(purpose, GRANT, 3)
    body = base64url.decode(token[4:])
    for position in range(len(body)):
        for bit in range(8):
            bad = body[:position] + bytes([body[position] ^ (1 << bit)]) + body[position + 1 :]
            assert not is_genuine(ONE, PREFIXES[purpose] + base64url.encode(bad), purpose, GRANT), (position, bit)


def test_any_letter_changed_makes_it_garbage() -> None:
    """Also the last one, of whose bits not all count."""
    token = ONE.derive("refresh", GRANT, 3)
    for position in range(len(token)):
        for letter in "ABQgw09-_=/+. é":
            bad = token[:position] + letter + token[position + 1 :]
            assert bad == token or not is_genuine(ONE, bad, "refresh", GRANT), bad


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mmr_",
        "x" * 75,
        ONE.derive("refresh", GRANT, 3) + "A",
        ONE.derive("refresh", GRANT, 3)[:-1],
        ONE.derive("refresh", GRANT, 3) + "=",
        " " + ONE.derive("refresh", GRANT, 3),
        ONE.derive("refresh", GRANT, 3).upper(),
        ONE.derive("code", GRANT, 3),
    ],
)
def test_what_cannot_be_one_of_ours(text: str) -> None:
    assert parse(text, "refresh") is None


@given(st.text(max_size=100))
def test_no_text_is_too_strange(text: str) -> None:
    parse(text, "refresh")
    parse("mmr_" + text, "refresh")


def test_one_purpose_is_not_the_other() -> None:
    for made, read in (("code", "refresh"), ("refresh", "code")):
        token = PREFIXES[read] + ONE.derive(made, GRANT, 0)[4:]  # type: ignore[index,arg-type]
        assert parse(token, read) is not None  # type: ignore[arg-type]
        assert not is_genuine(ONE, token, read, GRANT)  # type: ignore[arg-type]


def test_another_grants_token() -> None:
    token = ONE.derive("refresh", GRANT, 3)
    for other in (code(id=b"j" * 16), code(salt=b"t" * 16)):
        assert not is_genuine(ONE, token, "refresh", other)


def test_a_new_version_makes_new_tokens_and_knows_the_old_ones() -> None:
    both, second = Secrets({1: b"1" * 32, 2: b"2" * 32}), Secrets({2: b"2" * 32})
    old, new = ONE.derive("refresh", GRANT, 3), both.derive("refresh", GRANT, 3)
    assert old != new
    assert new == second.derive("refresh", GRANT, 3)
    assert is_genuine(both, old, "refresh", GRANT)
    assert is_genuine(both, new, "refresh", GRANT)
    assert not is_genuine(second, old, "refresh", GRANT)
    assert not is_genuine(ONE, new, "refresh", GRANT)
    assert not is_genuine(Secrets({}), old, "refresh", GRANT)


def test_no_repr_holds_a_secret() -> None:
    presented = parse(ONE.derive("refresh", GRANT, 3), "refresh")
    assert isinstance(presented, Presented)
    assert repr(presented.mac) not in repr(presented)
    assert "1111" not in repr(ONE)
