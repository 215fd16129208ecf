"""The short list: what was revoked and has not expired yet. The authority and every verifier keep one (ADR 0003, 0021).

An entry names one token (``jti``), all tokens of a grant (``gid``), all that were issued at or before a moment to a
subject (``sub``) or to a client (``client_id``), or all that one key signed (``kid``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec

from mintmark.jose.jwt import MAX_LEEWAY

_Named = Literal["jti", "gid", "kid"]
_Dated = Literal["sub", "client_id"]
RevocationKind = Literal["jti", "gid", "sub", "client_id", "kid"]
KINDS: Final[tuple[RevocationKind, ...]] = get_args(RevocationKind)

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


def from_wire(wire: WireEntry, cursor: int = 0) -> Revocation | None:
    """Return what the feed carries as an entry; ``None`` unless it names exactly one thing of a kind we know."""
    named = [(kind, value) for kind in KINDS if (value := getattr(wire, kind)) is not None]
    if len(named) != 1:
        return None
    ((kind, value),) = named
    return Revocation(kind=kind, value=value, before=wire.before, expires_at=wire.exp, cursor=cursor)


class RevocationTable:
    """Entries in memory, and whether they hit a token. One thread writes; any number may ask meanwhile."""

    __slots__ = ("_client_ids", "_gids", "_jtis", "_kids", "_subs")

    def __init__(self) -> None:
        # Plain numbers, and no object per entry: there may be a hundred thousand.
        self._jtis: dict[str, int] = {}
        self._gids: dict[str, int] = {}
        self._kids: dict[str, int] = {}
        self._subs: dict[str, tuple[int | None, int]] = {}
        self._client_ids: dict[str, tuple[int | None, int]] = {}

    def __len__(self) -> int:
        return len(self._jtis) + len(self._gids) + len(self._kids) + len(self._subs) + len(self._client_ids)

    def add(self, kind: RevocationKind, value: str, before: int | None, expires_at: int) -> None:
        """Add an entry; two for the same thing count together."""
        match kind:
            case "jti" | "gid" | "kid":
                named = self._named(kind)
                named[value] = max(expires_at, named.get(value, 0))
            case "sub" | "client_id":
                dated = self._dated(kind)
                known = dated.get(value)
                dated[value] = (before, expires_at) if known is None else _both(known, (before, expires_at))

    def covers(self, entry: Revocation) -> bool:
        """Tell whether all that ``entry`` revokes is in the table, for as long."""
        match entry.kind:
            case "jti" | "gid" | "kid":
                return self._named(entry.kind).get(entry.value, -1) >= entry.expires_at
            case "sub" | "client_id":
                known = self._dated(entry.kind).get(entry.value)
                return known is not None and _both(known, (entry.before, entry.expires_at)) == known

    def entries(self) -> list[Revocation]:
        """Return all of it, each thing once, without cursors."""
        named: tuple[_Named, ...] = ("jti", "gid", "kid")
        dated: tuple[_Dated, ...] = ("sub", "client_id")
        return [
            Revocation(kind=kind, value=value, expires_at=expires_at)
            for kind in named
            for value, expires_at in self._named(kind).items()
        ] + [
            Revocation(kind=kind, value=value, before=before, expires_at=expires_at)
            for kind in dated
            for value, (before, expires_at) in self._dated(kind).items()
        ]

    def forget(self, now: int) -> int:
        """Drop the entries nobody can need any more (`KEPT_BEYOND_EXPIRY`); return how many."""
        gone = now - KEPT_BEYOND_EXPIRY
        named, dated = (self._jtis, self._gids, self._kids), (self._subs, self._client_ids)
        return sum(_drop(entries, lambda expires_at: expires_at <= gone) for entries in named) + sum(
            _drop(entries, lambda entry: entry[1] <= gone) for entries in dated
        )

    def revokes(self, claims: Mapping[str, Any], kid: str | None) -> bool:
        """Tell whether a token with these verified claims was revoked.

        Args:
            claims: Of the token, or what introspection said of it.
            kid: The key that signed it; ``None`` where that is unknown.
        """
        # Most lists are empty most of the time, and this is asked for every token.
        return bool(
            (self._jtis and claims.get("jti") in self._jtis)
            or (self._gids and claims.get("gid") in self._gids)
            or (self._kids and kid in self._kids)
            or (self._subs and _is_before(self._subs.get(claims.get("sub", "")), claims))
            or (self._client_ids and _is_before(self._client_ids.get(claims.get("client_id", "")), claims))
        )

    def _named(self, kind: _Named) -> dict[str, int]:
        return self._jtis if kind == "jti" else self._gids if kind == "gid" else self._kids

    def _dated(self, kind: _Dated) -> dict[str, tuple[int | None, int]]:
        return self._subs if kind == "sub" else self._client_ids


def _is_before(entry: tuple[int | None, int] | None, claims: Mapping[str, Any]) -> bool:
    return entry is not None and (entry[0] is None or claims.get("iat", 0) <= entry[0])


def _both(known: tuple[int | None, int], entry: tuple[int | None, int]) -> tuple[int | None, int]:
    before = None if known[0] is None or entry[0] is None else max(known[0], entry[0])
    return before, max(known[1], entry[1])


_Value = TypeVar("_Value")


def _drop(entries: dict[str, _Value], is_dead: Callable[[_Value], bool]) -> int:
    dead = [name for name, value in entries.items() if is_dead(value)]
    for name in dead:
        del entries[name]
    return len(dead)
