"""Encryption at rest of keys and secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.world import SeededRandomness

from mintmark.authority.wrapping import MasterKeyError, MasterKeys

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
CHANCE = SeededRandomness()


@given(st.binary(max_size=200), st.text(max_size=30))
def test_round_trip(plaintext: bytes, name: str) -> None:
    keys = MasterKeys(NEW)
    wrapped = keys.wrap(plaintext, name=name, randomness=CHANCE)
    assert keys.unwrap(wrapped, name=name) == plaintext
    assert len(plaintext) < 4 or plaintext not in wrapped
    assert keys.wrap(plaintext, name=name, randomness=CHANCE) != wrapped


def test_previous_keys_still_open_what_they_closed() -> None:
    wrapped = MasterKeys(OLD).wrap(b"secret", name="a", randomness=CHANCE)
    changed = MasterKeys(NEW, (OTHER, OLD))
    assert changed.unwrap(wrapped, name="a") == b"secret"
    assert not changed.is_current(wrapped)
    again = changed.wrap(b"secret", name="a", randomness=CHANCE)
    assert changed.is_current(again)
    assert MasterKeys(NEW).unwrap(again, name="a") == b"secret"


@pytest.mark.parametrize("keys", [MasterKeys(NEW), MasterKeys(NEW, (OTHER,))])
def test_a_key_that_was_not_given(keys: MasterKeys) -> None:
    wrapped = MasterKeys(OLD).wrap(b"secret", name="signing key k1", randomness=CHANCE)
    with pytest.raises(MasterKeyError, match=r"signing key k1 cannot be decrypted.*MINTMARK_PREVIOUS_MASTER_KEYS"):
        keys.unwrap(wrapped, name="signing key k1")


def test_two_values_cannot_change_places() -> None:
    keys = MasterKeys(NEW)
    wrapped = keys.wrap(b"secret", name="signing key k1", randomness=CHANCE)
    with pytest.raises(MasterKeyError):
        keys.unwrap(wrapped, name="signing key k2")


def test_any_bit_changed_is_noticed() -> None:
    keys = MasterKeys(NEW, (OLD,))
    wrapped = keys.wrap(b"secret", name="a", randomness=CHANCE)
    for position in range(len(wrapped)):
        for bit in range(8):
            bad = wrapped[:position] + bytes([wrapped[position] ^ (1 << bit)]) + wrapped[position + 1 :]
            with pytest.raises(MasterKeyError):
                keys.unwrap(bad, name="a")


@pytest.mark.parametrize("length", [0, 3, 4, 15, 16, 20])
def test_what_is_cut_short_is_noticed(length: int) -> None:
    keys = MasterKeys(NEW)
    wrapped = keys.wrap(b"secret", name="a", randomness=CHANCE)
    with pytest.raises(MasterKeyError):
        keys.unwrap(wrapped[:length], name="a")


@pytest.mark.parametrize(("current", "previous"), [(b"", ()), (b"n" * 31, ()), (b"n" * 33, ()), (NEW, (b"o" * 16,))])
def test_a_master_key_is_32_bytes(current: bytes, previous: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKeys(current, previous)


def test_no_repr_holds_a_key() -> None:
    assert "nnnn" not in repr(MasterKeys(NEW, (OLD,)))
    assert "oooo" not in repr(MasterKeys(NEW, (OLD,)))
