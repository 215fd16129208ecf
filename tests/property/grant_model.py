"""What the invariants promise of a grant, as small as it can be said: one row, four acts, no store, no crypto."""

from copy import deepcopy
from dataclasses import dataclass, field

Outcome = int | str
"""The generation of the refresh token that was answered, or the error code; ``ok`` for an act that answers nothing."""

ACCESS, ABSOLUTE, IDLE, CODE, GRACE = 300, 1300, 1200, 60, 10
PUBLIC_MAX_GRACE = 60


@dataclass(frozen=True)
class Redeem:
    """``by`` redeems the code; ``fits`` if redirect URI and verifier are the right ones."""

    grant: str
    by: str
    fits: bool = True


@dataclass(frozen=True)
class Refresh:
    """``by`` presents the refresh token of ``generation``."""

    grant: str
    generation: int
    by: str
    scope: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revoke:
    """``by`` revokes the refresh token of ``generation``."""

    grant: str
    generation: int
    by: str


@dataclass(frozen=True)
class SignOut:
    """A browser session of ``subject`` ends."""

    sid: str
    subject: str


Act = Redeem | Refresh | Revoke | SignOut


@dataclass
class Row:
    """What the authority must know of a grant."""

    client: str
    subject: str
    sid: str
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    advanced_at: int
    idle_expires_at: int
    expires_at: int
    generation: int = 0
    access_expires_at: int = 0
    replays: int = 0
    ended: str | None = None

    def is_spent(self, now: int) -> bool:
        """Whether a sweep may forget it (invariant I10)."""
        is_dead = self.ended is not None or now >= min(self.idle_expires_at, self.expires_at)
        return is_dead and now >= self.access_expires_at

    def is_current(self, generation: int, now: int) -> bool:
        """Whether the refresh token of ``generation`` is the one that counts."""
        is_live = self.ended is None and now < min(self.idle_expires_at, self.expires_at)
        return is_live and generation == self.generation


@dataclass
class Registered:
    """What of a client's registration matters here."""

    is_confidential: bool = True
    rotates: bool = True
    grace: int = GRACE


@dataclass
class Model:
    """The whole database, as far as grants go."""

    rows: dict[str, Row] = field(default_factory=dict)
    clients: dict[str, Registered] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)

    def copy(self) -> "Model":
        return deepcopy(self)

    def end(self, reason: str, *, subject: str | None = None, sid: str | None = None) -> None:
        """Grants end with what ended the trust; ``offline_access`` outlives a sign-out."""
        for row in self.rows.values():
            is_meant = subject == row.subject or (sid == row.sid and "offline_access" not in row.scope)
            if is_meant and row.ended is None:
                row.ended = reason

    def apply(self, act: Act, now: int) -> Outcome:
        """Do ``act`` as the only one at that moment."""
        if isinstance(act, SignOut):
            self.end("sign_out", sid=act.sid)
            return "ok"
        row = self.rows.get(act.grant)
        if isinstance(act, Revoke):
            return self._revoke(row, act)
        if row is None or act.by != row.client or row.ended is not None:
            return "invalid_grant"
        return self._redeem(row, act, now) if isinstance(act, Redeem) else self._refresh(row, act, now)

    def _revoke(self, row: Row | None, act: Revoke) -> Outcome:
        if row is None:
            return "ok"
        if act.by != row.client:
            return "invalid_request"
        row.ended = row.ended or "revoked"
        return "ok"

    def _redeem(self, row: Row, act: Redeem, now: int) -> Outcome:
        if row.generation > 0:  # I1
            row.ended = "code_reuse"
            return "invalid_grant"
        if now >= row.idle_expires_at or not act.fits:
            return "invalid_grant"
        return self._issue(row, 1, now)

    def _refresh(self, row: Row, act: Refresh, now: int) -> Outcome:
        client = self.clients[row.client]
        grace = client.grace if client.is_confidential else min(client.grace, PUBLIC_MAX_GRACE)
        step = 1 if client.rotates or not client.is_confidential else 0
        presented, current = act.generation, row.generation
        if now >= row.expires_at:
            return "invalid_grant"
        if presented > current:  # I11
            return self._issue(row, presented + step, now, act)
        is_replay = presented == current - 1 and grace > 0 and now < row.advanced_at + grace  # I2; 0 is strict
        if presented < current and not is_replay:  # I3, also beyond the idle limit, which access tokens may outlive
            row.ended = "refresh_reuse"
            return "invalid_grant"
        if now >= row.idle_expires_at:
            return "invalid_grant"
        return self._issue(row, current if is_replay else presented + step, now, act, is_replay=is_replay)

    def _issue(
        self, row: Row, generation: int, now: int, act: Refresh | None = None, *, is_replay: bool = False
    ) -> Outcome:
        if row.subject in self.disabled:
            return "invalid_grant"
        if act is not None and not set(act.resources) <= set(row.resources):  # I5
            return "invalid_target"
        if act is not None and not set(act.scope) <= set(row.scope):  # I5
            return "invalid_scope"
        if generation > row.generation:
            row.advanced_at = now
        row.generation = generation
        row.replays += is_replay
        row.idle_expires_at = min(now + IDLE, row.expires_at)
        row.access_expires_at = max(row.access_expires_at, min(now + ACCESS, row.expires_at))
        return generation
