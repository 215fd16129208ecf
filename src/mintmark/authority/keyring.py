"""The keys of this node, opened: what the schedule's rows are once the master key has unwrapped them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mintmark.authority import keys as schedule
from mintmark.authority.derivation import SECRET_BYTES, Secrets
from mintmark.authority.model import AuditEvent, ServerSecret, SigningKey
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Clock, Lease, Randomness, Store
from mintmark.authority.wrapping import MasterKeys
from mintmark.jose import jwk
from mintmark.jose.algorithms import Algorithm
from mintmark.jose.jwk import Key, KeySet
from mintmark.oauth.errors import unavailable

_ATTEMPTS: Final = 5


@dataclass(slots=True)
class Keyring:
    """Signing keys and server secrets, held open in memory. ``refresh`` brings it up to date with the store.

    Attributes:
        rows: The schedule, as last read.
    """

    policy: Policy
    master_keys: MasterKeys
    randomness: Randomness
    rows: tuple[SigningKey, ...] = ()
    _opened: dict[str, Key] = field(default_factory=dict, repr=False)
    _secrets: Secrets = field(default_factory=lambda: Secrets({}), repr=False)
    _verifying: KeySet = field(default_factory=KeySet, repr=False)
    _verifying_at: int | None = None

    @property
    def secrets(self) -> Secrets:
        """The server secrets that codes and refresh tokens are derived from."""
        return self._secrets

    def signing_key(self, alg: Algorithm, now: int) -> Key:
        """Return the key that signs with ``alg`` at ``now``.

        Raises:
            OAuthError: ``temporarily_unavailable`` while no key of that algorithm may sign.
        """
        row = schedule.active(self.rows, alg, now)
        if row is None:
            raise unavailable(f"no active {alg} key; run `mintmark keys list`", retry_after=5)
        return self._opened[row.kid]

    def verification_keys(self, now: int) -> KeySet:
        """Return the public keys under which a token may be valid at ``now``."""
        if now != self._verifying_at:
            alive = [row.kid for row in self.rows if schedule.state(row, now) != "removed"]
            self._verifying = KeySet(self._opened[kid] for kid in alive)
            self._verifying_at = now
        return self._verifying

    async def refresh(self, store: Store) -> None:
        """Read the rows and open those not opened yet.

        Raises:
            MasterKeyError: A row was written under a master key we were not given.
        """
        rows = tuple(await store.keys.signing_keys())
        if rows != self.rows:
            self._opened = {row.kid: self._opened.get(row.kid) or self._open(row) for row in rows}
            self.rows = rows
            self._verifying_at = None
        stored = await store.keys.server_secrets()
        if {secret.version for secret in stored} != set(self._secrets.by_version):
            self._secrets = Secrets(
                {s.version: self.master_keys.unwrap(s.wrapped, name=_secret_name(s.version)) for s in stored}
            )

    def _open(self, row: SigningKey) -> Key:
        private = self.master_keys.unwrap(row.wrapped, name=_key_name(row.kid))
        return jwk.from_jwk(json.loads(private), alg=row.alg)

    def make(self, alg: Algorithm) -> SigningKey:
        """Make a fresh signing key, wrapped; its instants are for the schedule to fill in."""
        key = jwk.generate(alg)
        while key.kid.startswith("-"):
            # A command line would take it for an option.
            key = jwk.generate(alg)
        wrapped = self.master_keys.wrap(
            json.dumps(key.private_jwk()).encode(), name=_key_name(key.kid), randomness=self.randomness
        )
        return SigningKey(
            kid=key.kid, alg=alg, public_jwk=key.public_jwk(), wrapped=wrapped, published_at=0, active_at=0
        )


async def found(keyring: Keyring, store: Store, clock: Clock) -> list[SigningKey]:
    """Make what nothing can be issued without: the server secret, and keys where none may sign; return what changed.

    The first node of all does not wait for a lease, and neither does an algorithm that was just configured.
    """
    now = clock.now()
    await _first_secret(keyring, store, now)
    await keyring.refresh(store)
    algorithms = keyring.policy.signing_algorithms
    if all(schedule.active(keyring.rows, alg, now) is not None for alg in algorithms):
        return []
    return await keep_up(keyring, store, clock)


async def keep_up(keyring: Keyring, store: Store, clock: Clock, lease: Lease | None = None) -> list[SigningKey]:
    """Do what the schedule asks for (first keys, successors, retirements, removals); return what changed.

    Safe to run on every node at any time: the change is a compare-and-set on the whole schedule, and whoever loses
    the race finds nothing left to do.

    Raises:
        SupersededError: With ``lease``: somebody else holds it by now.
    """
    now = clock.now()
    await _first_secret(keyring, store, now)
    await keyring.refresh(store)
    changed = schedule.upkeep(keyring.rows, keyring.policy, now, keyring.make)
    audit = AuditEvent(at=now, event="keys.scheduled")
    if changed and await change(keyring, store, changed, audit, lease):
        return changed
    return []


async def change(
    keyring: Keyring, store: Store, changed: Sequence[SigningKey], audit: AuditEvent, lease: Lease | None = None
) -> bool:
    """Commit changed rows if the schedule still is the one this node read; tell whether it was, and read it again.

    Raises:
        SupersededError: With ``lease``: somebody else holds it by now.
    """
    named = replace(audit, detail={**audit.detail, "kids": " ".join(key.kid for key in changed)})
    done = await store.keys.change(keyring.rows, changed, audit=named, lease=lease)
    await keyring.refresh(store)
    return done


async def rotate(keyring: Keyring, store: Store, clock: Clock, alg: Algorithm) -> SigningKey | None:
    """Bring the successor of ``alg`` forward as far as caches allow; return it with its new instants.

    ``None`` if no successor is published.

    Raises:
        OAuthError: ``temporarily_unavailable`` if others kept changing the schedule.
    """
    for _ in range(_ATTEMPTS):
        now = clock.now()
        changed = schedule.rotate(keyring.rows, alg, keyring.policy, now)
        if not changed:
            return None
        if await change(keyring, store, changed, AuditEvent(at=now, event="keys.rotated", detail={"alg": alg})):
            await keep_up(keyring, store, clock)
            return changed[-1]
    raise unavailable("the key schedule keeps changing")


async def retire_emergency(keyring: Keyring, store: Store, clock: Clock, kid: str) -> schedule.Emergency | None:
    """Take a compromised key out of use at once, and push that like a revocation (invariant I7).

    ``None`` if there is no such key or it is gone already.

    Raises:
        OAuthError: ``temporarily_unavailable`` if others kept changing the schedule.
    """
    for _ in range(_ATTEMPTS):
        now = clock.now()
        emergency = schedule.retire_emergency(keyring.rows, kid, keyring.policy, now)
        if emergency is None:
            return None
        audit = AuditEvent(at=now, event="keys.retired_in_emergency", detail={"kid": kid})
        done = await store.keys.change(keyring.rows, emergency.changed, revocations=[emergency.revocation], audit=audit)
        await keyring.refresh(store)
        if done:
            await keep_up(keyring, store, clock)
            return emergency
    raise unavailable("the key schedule keeps changing")


async def rewrap(keyring: Keyring, store: Store, now: int) -> int:
    """Bring everything under the current master key; return how many values were not. Nobody is logged out."""
    master, randomness = keyring.master_keys, keyring.randomness

    def again(wrapped: bytes, name: str) -> bytes:
        return master.wrap(master.unwrap(wrapped, name=name), name=name, randomness=randomness)

    keys = [
        replace(row, wrapped=again(row.wrapped, _key_name(row.kid)))
        for row in await store.keys.signing_keys()
        if not master.is_current(row.wrapped)
    ]
    secrets = [
        replace(secret, wrapped=again(secret.wrapped, _secret_name(secret.version)))
        for secret in await store.keys.server_secrets()
        if not master.is_current(secret.wrapped)
    ]
    if keys or secrets:
        count = len(keys) + len(secrets)
        await store.keys.rewrap(keys, secrets, AuditEvent(at=now, event="keys.rewrapped", detail={"count": count}))
        await keyring.refresh(store)
    return len(keys) + len(secrets)


async def _first_secret(keyring: Keyring, store: Store, now: int) -> None:
    if await store.keys.server_secrets():
        return
    wrapped = keyring.master_keys.wrap(
        keyring.randomness.bytes(SECRET_BYTES), name=_secret_name(1), randomness=keyring.randomness
    )
    await store.keys.add_server_secret(ServerSecret(version=1, wrapped=wrapped, created_at=now))


def _key_name(kid: str) -> str:
    return f"signing key {kid}"


def _secret_name(version: int) -> str:
    return f"server secret {version}"
