"""What the authority needs of the world. Adapters live in ``storage`` and ``bootstrap``; each verb is whole and atomic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mintmark.authority.model import (
    AuditEvent,
    Client,
    Consent,
    Grant,
    Resource,
    Role,
    ServerSecret,
    Session,
    SigningKey,
    User,
)
from mintmark.jose.jwk import Key
from mintmark.oauth.revocations import Revocation


class StoreUnavailableError(Exception):
    """The store could not answer; nothing is known about the outcome. Becomes 503 (invariant I4)."""


class AlreadyExistsError(Exception):
    """There is one with that name already."""


class SupersededError(Exception):
    """Another node has taken over the work; nothing was written."""


class Clock(Protocol):
    """Time."""

    def now(self) -> int:
        """Return Unix time in whole seconds."""
        ...


class Randomness(Protocol):
    """Unpredictable bytes."""

    def bytes(self, nbytes: int) -> bytes:
        """Return ``nbytes`` unpredictable bytes."""
        ...


class Signer(Protocol):
    """Makes signatures, off the event loop where that is faster."""

    async def sign(self, key: Key, signing_input: bytes) -> bytes:
        """Return the signature of ``signing_input`` by ``key``."""
        ...


class Passwords(Protocol):
    """Slow, salted password hashing in a bounded pool."""

    async def hash(self, password: str) -> str:
        """Return the encoded hash of ``password``."""
        ...

    async def verify(self, password_hash: str | None, password: str, *, source: str = "") -> bool:
        """Tell whether ``password`` belongs to ``password_hash``; ``None`` takes as long and says no.

        Sources take turns, so that none of them holds up the others.
        """
        ...

    async def weakness(self, password: str, words: Sequence[str]) -> str | None:
        """Say why ``password`` is easily guessed by somebody who knows ``words``, or ``None`` if it is not."""
        ...

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether ``password_hash`` was made with weaker parameters than today's."""
        ...


Item = TypeVar("Item")


class Directory(Protocol[Item]):
    """Things an operator registers, by name."""

    async def get(self, key: str) -> Item | None:
        """Return the one named ``key``."""
        ...

    async def all(self) -> list[Item]:
        """Return all, by name."""
        ...

    async def add(self, item: Item) -> None:
        """Add ``item``.

        Raises:
            AlreadyExistsError: The name (or a user's email) is taken.
        """
        ...

    async def replace(self, old: Item, new: Item) -> bool:
        """Put ``new`` in the place of ``old`` if ``old`` is still what is stored; tell whether it was.

        Raises:
            AlreadyExistsError: A user's new email is taken.
        """
        ...

    async def remove(self, key: str) -> bool:
        """Remove the one named ``key``; tell whether there was one."""
        ...


class Users(Directory[User], Protocol):
    """Users, by subject; an email belongs to at most one, compared without case."""

    async def by_email(self, email: str) -> User | None:
        """Return the user with that email."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """One step of a grant, taken only if it still is at ``expected`` and has not ended (invariant I1).

    ``generation`` equals ``expected`` for a replay or a stable refresh token; a higher one drops the code's binding
    and sets ``advanced_at``. ``access_expires_at`` only ever grows.
    """

    id: bytes
    expected: int
    generation: int
    at: int
    idle_expires_at: int
    access_expires_at: int
    is_replay: bool = False
    audit: AuditEvent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantSelector:
    """Which live grants: those that match every member that is set. At least one is."""

    id: bytes | None = None
    subject: str | None = None
    client_id: str | None = None
    sid: str | None = None


class Grants(Protocol):
    """Authorization grants."""

    async def get(self, grant_id: bytes) -> Grant | None:
        """Return the grant, ended or not."""
        ...

    async def live(self, selector: GrantSelector, now: int) -> list[Grant]:
        """Return the grants selected that have neither ended nor expired."""
        ...

    async def add(self, grant: Grant, audit: AuditEvent, *, if_session: str | None = None) -> bool:
        """Store a new grant, and the event with it; with ``if_session``, only while that session is there.

        A sign-out or a password change that ends the sessions before the grants therefore misses none (invariant I6).
        """
        ...

    async def advance(self, step: Advance) -> bool:
        """Take ``step`` by compare-and-set; tell whether it was taken. Nothing is written if not."""
        ...

    async def end(
        self,
        selector: GrantSelector,
        *,
        reason: str,
        at: int,
        revoke_until: int = 0,
        keep_scope: str | None = None,
        audit: AuditEvent,
    ) -> int:
        """End the selected grants, revoke their live access tokens (one ``gid`` entry each) and audit, all or nothing.

        An entry is forgotten at the grant's ``access_expires_at`` or at ``revoke_until``, whichever is later: a row that
        went back in time (invariant I11) does not know of the tokens issued since.
        Grants whose scope has ``keep_scope`` are spared. Returns how many ended now; the event (with that ``count``
        in its detail) is written even if none did.
        """
        ...


class Sessions(Protocol):
    """Browser sessions."""

    async def get(self, digest: bytes) -> Session | None:
        """Return the session whose cookie has that digest, expired or not; an ended one is gone."""
        ...

    async def of(self, subject: str) -> list[Session]:
        """Return the sessions of a person, newest first."""
        ...

    async def add(
        self, session: Session, *, replaces: bytes | None, if_user: User | None = None, audit: AuditEvent
    ) -> bool:
        """Store a new session and remove the one it replaces (a re-authentication), together.

        With ``if_user``, only while that account still has the password it had and is not disabled: checking a password
        takes long enough for it to be changed meanwhile. Tells whether it was stored.
        """
        ...

    async def touch(self, digest: bytes, idle_expires_at: int) -> None:
        """Move its idle limit."""
        ...

    async def end(self, *, sid: str | None = None, subject: str | None = None, audit: AuditEvent) -> int:
        """Remove the session ``sid``, or all of ``subject``; return how many."""
        ...


class Consents(Protocol):
    """Remembered consent."""

    async def get(self, subject: str, client_id: str) -> Consent | None:
        """Return what the person allowed the client."""
        ...

    async def of(self, subject: str) -> list[Consent]:
        """Return all of a person."""
        ...

    async def put(self, consent: Consent, audit: AuditEvent) -> None:
        """Remember; replaces what was there."""
        ...

    async def remove(self, subject: str, client_id: str, audit: AuditEvent) -> bool:
        """Forget; tell whether there was one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who does the work that must be done once.

    Nobody's clock is compared with another's: whoever wants the lease watches it, and takes it when it has not changed
    for long enough by the watcher's own clock.

    Attributes:
        name: What work.
        holder: The node that does it.
        fence: One more with each change of holder; a write that carries a lower one is refused.
        beat: One more with each renewal.
    """

    name: str
    holder: str
    fence: int
    beat: int


class Leases(Protocol):
    """Leases, by name."""

    async def get(self, name: str) -> Lease | None:
        """Return the lease as it stands."""
        ...

    async def put(self, expected: Lease | None, lease: Lease) -> bool:
        """Put ``lease`` in the place of ``expected`` (``None``: there is none) by compare-and-set; tell whether it was."""
        ...


class Keys(Protocol):
    """Signing keys and server secrets, wrapped."""

    async def signing_keys(self) -> list[SigningKey]:
        """Return all, oldest published first."""
        ...

    async def change(
        self,
        expected: Sequence[SigningKey],
        changed: Sequence[SigningKey],
        *,
        revocations: Sequence[Revocation] = (),
        audit: AuditEvent,
        lease: Lease | None = None,
    ) -> bool:
        """Insert or replace ``changed`` (by kid) if what is stored still is ``expected``; tell whether it was.

        Raises:
            SupersededError: With ``lease``: its name is held under a higher fence by now.
        """
        ...

    async def server_secrets(self) -> list[ServerSecret]:
        """Return all versions, oldest first."""
        ...

    async def add_server_secret(self, secret: ServerSecret) -> bool:
        """Store a version if there is none with that number; tell whether it was stored."""
        ...

    async def rewrap(self, keys: Sequence[SigningKey], secrets: Sequence[ServerSecret], audit: AuditEvent) -> None:
        """Replace the wrapped bytes of all named keys and secrets at once (the master key was changed)."""
        ...

    async def forget_removed(self, now: int) -> int:
        """Delete keys removed from the JWKS at or before ``now``; return how many."""
        ...


class Revocations(Protocol):
    """The short list."""

    async def add(self, revocation: Revocation, audit: AuditEvent) -> None:
        """Append one entry, and the event with it."""
        ...

    async def after(self, cursor: int, limit: int) -> list[Revocation]:
        """Return at most ``limit`` entries with a higher cursor, in order.

        Whoever goes on from the last cursor returned misses nothing: no entry ever appears at or below a cursor that
        was returned, however late it is committed, and a cursor is never given twice. Only a store that goes back in
        time (invariant I11) breaks the first; the second too, but by chance: cursors rise by steps that differ each time.
        """
        ...


class Audit(Protocol):
    """The audit log."""

    async def record(self, event: AuditEvent) -> None:
        """Append an event that goes with no other change."""
        ...

    async def latest(self, limit: int, *, subject: str | None = None, gid: str | None = None) -> list[AuditEvent]:
        """Return the newest events first."""
        ...


class Store(Protocol):
    """Everything that is kept. Every verb may raise ``StoreUnavailableError``."""

    @property
    def clients(self) -> Directory[Client]: ...  # noqa: D102 - the type says it
    @property
    def resources(self) -> Directory[Resource]: ...  # noqa: D102
    @property
    def roles(self) -> Directory[Role]: ...  # noqa: D102
    @property
    def users(self) -> Users: ...  # noqa: D102
    @property
    def grants(self) -> Grants: ...  # noqa: D102
    @property
    def sessions(self) -> Sessions: ...  # noqa: D102
    @property
    def consents(self) -> Consents: ...  # noqa: D102
    @property
    def keys(self) -> Keys: ...  # noqa: D102
    @property
    def revocations(self) -> Revocations: ...  # noqa: D102
    @property
    def leases(self) -> Leases: ...  # noqa: D102
    @property
    def audit(self) -> Audit: ...  # noqa: D102

    async def sweep(self, now: int, limit: int, lease: Lease | None = None) -> dict[str, int]:
        """Delete at most ``limit`` rows of each kind that nothing needs any more; return how many of each.

        A grant goes once it can issue nothing (it ended, or its idle or absolute limit passed) and its last access
        token is dead (``access_expires_at`` passed). Until then reuse detection needs it (invariant I10). A session
        goes with either limit, a revocation ``KEPT_BEYOND_EXPIRY`` seconds after its ``expires_at``, a key at its ``removed_at``.

        The kinds are ``grants_expired``, ``grants_ended``, ``sessions_expired``, ``revocations`` and ``keys``;
        ``grants_postponed`` says how many were looked at and are still needed. What is looked at is bounded as well, so
        that a batch takes as long however much is due: while the counts add up to ``limit`` there may be more.

        Raises:
            SupersededError: With ``lease``: somebody else holds it by now.
        """
        ...

    async def check(self) -> None:
        """Raise ``StoreUnavailableError`` unless the store answers and its schema is the one expected."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        ...
