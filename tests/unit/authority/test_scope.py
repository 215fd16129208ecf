"""Scope strings (RFC 6749 §3.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.oauth.errors import OAuthError
from mintmark.oauth.scope import MAX_SCOPES, format_scope, is_scope_token, parse_scope

TOKENS = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=20
)


@given(st.lists(TOKENS, max_size=20))
def test_round_trip(scopes: list[str]) -> None:
    distinct = tuple(dict.fromkeys(scopes))
    assert parse_scope(format_scope(tuple(scopes))) == distinct
    assert all(map(is_scope_token, scopes))


@given(st.characters(), st.text(max_size=3))
def test_which_characters(character: str, around: str) -> None:
    allowed = 0x21 <= ord(character) <= 0x7E and character not in '"\\'
    assert is_scope_token(character) == allowed
    if not allowed:
        assert not is_scope_token(around + character)


@pytest.mark.parametrize(
    ("text", "scopes"),
    [
        ("", ()),
        ("   ", ()),
        ("a", ("a",)),
        (" b  a b ", ("b", "a")),
        ("a A", ("a", "A")),
        ("x" * 256, ("x" * 256,)),
        ("a " * 500, ("a",)),
        (" ".join(map(str, range(MAX_SCOPES))), tuple(map(str, range(MAX_SCOPES)))),
    ],
)
def test_well_formed(text: str, scopes: tuple[str, ...]) -> None:
    assert parse_scope(text) == scopes


@pytest.mark.spec("RFC 6749 §3.3")
@pytest.mark.parametrize(
    "text",
    ['a"b', "a\\b", "a\tb", "a\nb", "é", "a\u00a0b", "a\x7f", "x" * 257, " ".join(map(str, range(MAX_SCOPES + 1)))],
)
def test_malformed(text: str) -> None:
    with pytest.raises(OAuthError) as refused:
        parse_scope(text)
    assert refused.value.error == "invalid_scope"
