"""Paths that everybody reads alike."""

import posixpath
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mintmark.verifier.guard.paths import Unreadable, segments_of

pytestmark = pytest.mark.spec("S03")


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/", ()),
        ("/?a=/../b;c%2f", ()),
        ("/orders", ("orders",)),
        ("/orders/", ("orders",)),
        ("/orders/7?x=%2e%2e/", ("orders", "7")),
        ("/%6frders/a%20b/%C3%A9t%c3%a9", ("orders", "a b", "été")),
        ("/.well-known/a.b/..c/~x/a:b@c,d=e&f+g!$'()*", (".well-known", "a.b", "..c", "~x", "a:b@c,d=e&f+g!$'()*")),
    ],
)
def test_what_means_one_thing_is_decoded_once(target: str, segments: tuple[str, ...]) -> None:
    assert segments_of(target) == segments


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "orders",
        "?x",
        "http://api.example/orders",
        "//orders",
        "/orders//7",
        "/orders//",
        "/orders/.",
        "/orders/..",
        "/./orders",
        "/public/../orders",
        "/public/%2e%2e/orders",
        "/public/.%2E/orders",
        "/public/.../orders",
        "/orders%2f7",
        "/public%2F..%2Forders",
        "/public%5c..%5corders",
        "/public\\..\\orders",
        "/orders%00",
        "/orders%0a",
        "/orders%7f",
        "/orders%c2%80",
        "/orders%e2%80%8b",
        "/orders%C2%A0",
        "/orders;x=1",
        "/orders%3bx=1",
        "/public;/../orders",
        "/%2565",
        "/%252e%252e/orders",
        "/public%252f..%252forders",
        "/orders%3fx",
        "/orders%23x",
        "/orders#x",
        "/orders%",
        "/orders%2",
        "/orders%zz",
        "/orders%u0041",
        "/orders%ff",
        "/orders%c0%af",
        "/orders%ed%a0%80",
        "/%ef%bd%8frders",
        "/e%cc%81",
        "/orders.",
        "/orders%2e",
        "/orders%20",
        "/orders./7",
        "/or ders",
        "/orders\t",
        "/orders\n",
        "/orders\r\nX-A: b",
        "/été",
        '/"orders"',
        "/<orders>",
        "/[orders]",
        "/orders|x",
        "/{orders}",
        "/orders^",
        "/`orders`",
    ],
)
def test_what_could_mean_two_things_is_refused(target: str) -> None:
    with pytest.raises(Unreadable):
        segments_of(target)


def split(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part)


def resolved(path: str) -> tuple[str, ...]:
    return split(posixpath.normpath("/" + path.lstrip("/")))


READERS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "splits, then decodes": lambda path: tuple(map(unquote, split(path))),
    "decodes, then resolves dots": lambda path: resolved(unquote(path)),
    "resolves dots, then decodes": lambda path: tuple(map(unquote, resolved(path))),
    "decodes twice": lambda path: resolved(unquote(unquote(path))),
    "takes backslashes for slashes": lambda path: resolved(unquote(path).replace("\\", "/")),
    "cuts parameters off": lambda path: resolved(unquote(re.sub(";[^/]*", "", path))),
    "decodes, then cuts parameters off": lambda path: resolved(re.sub(";[^/]*", "", unquote(path))),
    "decodes, then cuts the query off": lambda path: resolved(re.split("[?#]", unquote(path))[0]),
    "ends at a NUL": lambda path: resolved(unquote(path).partition("\0")[0]),
    "replaces compatible characters": lambda path: resolved(unicodedata.normalize("NFKC", unquote(path))),
    "drops what is invisible": lambda path: resolved("".join(c for c in unquote(path) if c == " " or c.isprintable())),
    "drops dots and spaces at the end": lambda path: tuple(part.rstrip(". ") for part in resolved(unquote(path))),
    "takes it for a URL": lambda path: tuple(map(unquote, split(urlsplit(path).path))),
}

PIECES = (
    "/ // . .. /../ /./ a orders A %20 %2f %2F %5c \\ %2e %2E%2e %00 %25 %252e %3b ; ;x=1 ? %3f # %23 %c3%a9 %ef%bc%8f "
    "%e2%80%8b %cc%81 %c0%af % %4 %61 %2 5c é : @ http: %0a ~ %7e"
)


@given(
    st.lists(st.sampled_from(PIECES.split()), max_size=8).map(lambda pieces: "/" + "".join(pieces))
    | st.text(max_size=20)
)
@example("/a/%2e%2e/b")
@example("/a%252fb")
def test_whatever_is_read_is_read_alike_by_everybody(target: str) -> None:
    try:
        segments = segments_of(target)
    except Unreadable:
        return
    path = target.partition("?")[0]
    assert {name: read(path) for name, read in READERS.items()} == dict.fromkeys(READERS, segments)


@given(st.lists(st.text(alphabet="abcXYZ019-_~ é漢", min_size=1, max_size=6), max_size=4))
def test_ordinary_names_pass(names: list[str]) -> None:
    from urllib.parse import quote

    names = [name.strip() or "x" for name in names]
    assert segments_of("/" + "/".join(map(quote, names))) == tuple(names)
