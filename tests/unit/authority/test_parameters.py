"""Parameters of requests (RFC 6749 §3.1, §3.2, appendix B; RFC 8707 §2)."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mintmark.oauth.errors import OAuthError
from mintmark.oauth.parameters import MAX_PARAMETERS, Parameters, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = TEXT.filter(lambda name: name != "resource")


@given(st.dictionaries(NAMES, TEXT.filter(bool), max_size=20), st.lists(TEXT.filter(bool), max_size=5, unique=True))
def test_round_trip(values: dict[str, str], resources: list[str]) -> None:
    parameters = Parameters(values, tuple(resources))
    assert parse(parameters.urlencode().encode()) == parameters


@given(st.binary(max_size=200), st.lists(st.binary(max_size=50), max_size=2))
def test_no_bytes_are_too_strange(encoded: bytes, also: list[bytes]) -> None:
    found, problem = None, None
    try:
        found = parse(encoded, also=also)
    except OAuthError as error:
        problem = error.error
    assert problem == "invalid_request" or found is not None
    assert found is None or all((*found.values.values(), *found.resources))


@pytest.mark.spec("A06")
def test_an_empty_parameter_is_an_absent_one() -> None:
    found = parse(b"scope=&state=x&empty&resource=")
    assert (found.get("scope"), found.get("empty"), found.get("unknown"), found.get("state")) == (None, None, None, "x")
    assert found.resources == ()


@pytest.mark.spec("A07")
@given(NAMES, TEXT, TEXT)
def test_a_parameter_occurs_once(name: str, first: str, second: str) -> None:
    pairs = [urlencode({name: value}).encode() for value in (first, second)]
    for sources in ((b"&".join(pairs),), pairs, (b"", *pairs)):
        with pytest.raises(OAuthError, match="more than once"):
            parse(sources[0], also=sources[1:])


def test_resource_may_repeat_and_counts_once() -> None:
    assert parse(b"resource=a&resource=b&resource=a", also=[b"resource=c&resource=b"]).resources == ("a", "b", "c")


@pytest.mark.parametrize(
    "encoded",
    [
        b"a=%ff",
        b"a=%c3",
        b"%ff=a",
        b"a=%ed%a0%80",  # half of a surrogate pair
        b"a=\xc3\xa9",  # not percent-encoded
        b"a=%00",
        b"%00=a",
        b"resource=%00",
        b"&".join(b"a%d=1" % number for number in range(MAX_PARAMETERS + 1)),
    ],
)
def test_malformed(encoded: bytes) -> None:
    with pytest.raises(OAuthError) as refused:
        parse(encoded)
    assert refused.value.error == "invalid_request"


@pytest.mark.parametrize(
    ("encoded", "values"),
    [
        (b"", {}),
        (b"&&", {}),
        (b"a=1;b=2", {"a": "1;b=2"}),  # only & separates
        (b"a=1=2", {"a": "1=2"}),
        (b"a=b+c%2Bd", {"a": "b c+d"}),
        (b"a=%C3%A9", {"a": "é"}),
        (b"a=%zz", {"a": "%zz"}),
        (b"A=1&a=2", {"A": "1", "a": "2"}),
        (b"&".join(b"a%d=1" % n for n in range(MAX_PARAMETERS)), {f"a{n}": "1" for n in range(MAX_PARAMETERS)}),
    ],
)
def test_well_formed(encoded: bytes, values: dict[str, str]) -> None:
    assert parse(encoded).values == values


def test_changed_copies() -> None:
    parameters = parse(b"a=1&b=2&resource=r")
    assert parameters.without("a", "c") == Parameters({"b": "2"}, ("r",))
    assert parameters.replace("a", "3") == Parameters({"a": "3", "b": "2"}, ("r",))
    assert parameters == Parameters({"a": "1", "b": "2"}, ("r",))


def test_no_repr_holds_a_value() -> None:
    assert "s3cret" not in repr(parse(b"client_secret=s3cret"))


@given(st.text(max_size=5))
def test_no_error_quotes_a_value(text: str) -> None:
    secret = "s3cret" + text
    with pytest.raises(OAuthError) as refused:
        parse(urlencode([("client_secret", secret), ("client_secret", secret)]).encode("ascii", "replace"))
    assert "s3cret" not in f"{refused.value} {refused.value.detail}"
