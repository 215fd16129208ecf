"""Paths that everybody reads alike.

A guard is bypassed where it and the service behind it take one path for two: by escapes decoded once more, by dot
segments, doubled slashes, ``;parameters``. So nothing is normalised here: a path that anybody would have to normalise is
refused, and all others mean the same to everybody.
"""

import re
import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

# RFC 3986 §3.3, without ";": several servers cut parameters off before they look up a path.
_ORIGIN_FORM: Final = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})*)+")
# What must not come out of an escape: separators to those who decode before they split, or escapes once more.
_SEPARATORS: Final = frozenset("/\\;?#%")

Segments = tuple[str, ...]


class Unreadable(Exception):  # noqa: N818 - says what is the case
    """A request that could be read in two ways. Its text is constant and says why."""


def segments_of(target: str) -> Segments:
    """Return the decoded segments of a request target's path; a slash at the end adds none, the query is not looked at.

    Args:
        target: As in the request line, in origin-form: a path and perhaps a query (RFC 9112 §3.2.1).

    Raises:
        Unreadable: It could be read in two ways.
    """
    path = target.partition("?")[0]
    if not _ORIGIN_FORM.fullmatch(path):
        raise Unreadable("not a path, or with characters that have to be escaped")
    *inner, last = path[1:].split("/")
    if "" in inner:
        raise Unreadable("an empty segment")
    return tuple(_decoded(segment) for segment in (*inner, last) if segment)


def _decoded(segment: str) -> str:
    if "%" in segment:
        segment = _unescaped(segment)
    # That covers "." and "..". Some file systems drop dots and spaces at the end of a name.
    if segment[-1] in ". ":
        raise Unreadable("a segment that ends with a dot or a space")
    return segment


def _unescaped(segment: str) -> str:
    try:
        decoded = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise Unreadable("escapes that are no UTF-8") from None
    if not _SEPARATORS.isdisjoint(decoded):
        raise Unreadable("an escaped separator, or an escape in an escape")
    # Neither control characters nor anything invisible; and what NFKC would change, such as full-width letters, some
    # servers take for what it looks like.
    if not decoded.isprintable() or not unicodedata.is_normalized("NFKC", decoded):
        raise Unreadable("characters that somebody might drop or replace")
    return decoded
