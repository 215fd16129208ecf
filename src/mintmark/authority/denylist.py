"""The live revocations of this node, in memory, fed from the store exactly like a verifier (ADR 0003)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mintmark.authority.model import Revocation, RevocationKind
from mintmark.authority.ports import Store

_PAGE: Final = 10_000


@dataclass(slots=True)
class Denylist:
    """What was revoked and has not expired yet.

    Attributes:
        last: The entry applied last, where the next reading goes on.
    """

    last: Revocation | None = None
    _entries: dict[tuple[RevocationKind, str], Revocation] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._entries)

    def apply(self, revocations: Iterable[Revocation]) -> None:
        """Add entries, in the order of their cursors; two for the same thing count together."""
        for entry in revocations:
            key = (entry.kind, entry.value)
            known = self._entries.get(key)
            self._entries[key] = entry if known is None else _both(known, entry)
            self.last = entry

    def forget(self, now: int) -> int:
        """Drop the entries that have expired; return how many."""
        dead = [key for key, entry in self._entries.items() if now >= entry.expires_at]
        for key in dead:
            del self._entries[key]
        return len(dead)

    def revokes(self, claims: Mapping[str, Any], kid: str) -> bool:
        """Tell whether a token with these verified claims, signed by ``kid``, was revoked."""
        entries = self._entries
        if not entries:
            return False
        if (
            ("jti", claims.get("jti", "")) in entries
            or ("gid", claims.get("gid", "")) in entries
            or ("kid", kid) in entries
        ):
            return True
        issued_at = claims.get("iat", 0)
        for kind in ("sub", "client_id"):
            entry = entries.get((kind, claims.get(kind, "")))
            if entry is not None and (entry.before is None or issued_at <= entry.before):
                return True
        return False

    async def pull(self, store: Store) -> None:
        """Apply what the store has after the last entry applied.

        A store that no longer has that entry went back in time (invariant I11) or has forgotten it: it is read from
        the start, since cursors it gave out once it may give out again.
        """
        if self.last is not None and await store.revocations.after(self.last.cursor - 1, 1) != [self.last]:
            self.last = None
        while page := await store.revocations.after(0 if self.last is None else self.last.cursor, _PAGE):
            self.apply(page)
            if len(page) < _PAGE:
                return


def _both(known: Revocation, entry: Revocation) -> Revocation:
    before = None if known.before is None or entry.before is None else max(known.before, entry.before)
    return replace(entry, before=before, expires_at=max(known.expires_at, entry.expires_at))
