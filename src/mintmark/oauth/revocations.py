"""The short list: what was revoked and has not expired yet. The authority and every verifier keep one (ADR 0003, 0021).

An entry names one token (``jti``), all tokens of a grant (``gid``), all that were issued at or before a moment to a
subject (``sub``) or to a client (``client_id``), or all that one key signed (``kid``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import msgspec

from mintmark.jose.jwt import MAX_LEEWAY

RevocationKind = Literal["jti", "gid", "sub", "client_id", "kid"]

KEPT_BEYOND_EXPIRY: Final = MAX_LEEWAY
"""Seconds an entry is kept after its ``expires_at``: whoever forgives that a token is over needs it until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One entry of the short list.

    ``before`` is set for ``sub`` and ``client_id`` only: tokens issued at or before it are revoked.
    ``cursor`` is 0 until stored.
    """

    kind: RevocationKind
    value: str
    before: int | None = None
    expires_at: int
    cursor: int = 0


class WireEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """An entry as the feed carries it: exactly one of the five names, ``exp``, and ``before`` where it has one."""

    jti: str | None = None
    gid: str | None = None
    sub: str | None = None
    client_id: str | None = None
    kid: str | None = None
    before: int | None = None
    exp: int


def to_wire(entry: Revocation) -> WireEntry:
    """Return ``entry`` as the feed carries it."""
    return WireEntry(**{entry.kind: entry.value}, before=entry.before, exp=entry.expires_at)


class RevocationTable:
    """Entries in memory, and whether they hit a token. One thread writes; any number may ask meanwhile."""

    __slots__ = ("_by_name", "_by_time")

    def __init__(self) -> None:
        # Plain numbers, and no object per entry: there may be a hundred thousand.
        self._by_name: dict[str, dict[str, int]] = {"jti": {}, "gid": {}, "kid": {}}
        self._by_time: dict[str, dict[str, tuple[int | None, int]]] = {"sub": {}, "client_id": {}}

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values())) + sum(map(len, self._by_time.values()))

    def add(self, kind: RevocationKind, value: str, before: int | None, expires_at: int) -> None:
        """Add an entry; two for the same thing count together."""
        if kind == "sub" or kind == "client_id":  # noqa: PLR1714 - so that the type is known
            dated = self._by_time[kind]
            known = dated.get(value)
            dated[value] = (before, expires_at) if known is None else _both(known, (before, expires_at))
        else:
            named = self._by_name[kind]
            named[value] = max(expires_at, named.get(value, 0))

    def forget(self, now: int) -> int:
        """Drop the entries nobody can need any more (`KEPT_BEYOND_EXPIRY`); return how many."""
        gone = now - KEPT_BEYOND_EXPIRY
        return sum(_drop(named, lambda expires_at: expires_at <= gone) for named in self._by_name.values()) + sum(
            _drop(dated, lambda entry: entry[1] <= gone) for dated in self._by_time.values()
        )

    def revokes(self, claims: Mapping[str, Any], kid: str | None) -> bool:
        """Tell whether a token with these verified claims was revoked.

        Args:
            claims: Of the token, or what introspection said of it.
            kid: The key that signed it; ``None`` where that is unknown.
        """
        by_name, by_time = self._by_name, self._by_time
        if claims.get("jti") in by_name["jti"] or claims.get("gid") in by_name["gid"] or kid in by_name["kid"]:
            return True
        if by_time["sub"] or by_time["client_id"]:
            issued_at = claims.get("iat", 0)
            for kind, dated in by_time.items():
                entry = dated.get(claims.get(kind, ""))
                if entry is not None and (entry[0] is None or issued_at <= entry[0]):
                    return True
        return False


def _both(known: tuple[int | None, int], entry: tuple[int | None, int]) -> tuple[int | None, int]:
    before = None if known[0] is None or entry[0] is None else max(known[0], entry[0])
    return before, max(known[1], entry[1])


_Value = TypeVar("_Value")


def _drop(entries: dict[str, _Value], is_dead: Callable[[_Value], bool]) -> int:
    dead = [name for name, value in entries.items() if is_dead(value)]
    for name in dead:
        del entries[name]
    return len(dead)
