"""The authority put together: its policy, its ports and what it keeps in memory. Use cases take it as first argument."""

from collections import Counter
from dataclasses import dataclass, field

from mintmark.authority import keyring as keyrings
from mintmark.authority.denylist import Denylist
from mintmark.authority.keyring import Keyring
from mintmark.authority.meter import Meter
from mintmark.authority.model import Client
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Clock, Lease, Passwords, Randomness, Signer, Store
from mintmark.authority.seen import SeenTokens
from mintmark.authority.sharing import Limiter, Replays, RevocationStream, Shared
from mintmark.authority.targeting import Landscape, authority_as_resource


@dataclass(frozen=True, slots=True)
class Authority:
    """Everything a use case needs. Made by ``bootstrap`` only.

    Attributes:
        expired: How much of each kind this node has removed since it started: the kinds of ``Store.sweep``, and
            ``denylist_entries`` from its own memory.
        stream: Where nodes tell each other of revocations beside the store; ``None`` without Redis.
        shared: Redis itself, whether it is there; ``None`` without.
    """

    policy: Policy
    store: Store
    clock: Clock
    randomness: Randomness
    signer: Signer
    passwords: Passwords
    limiter: Limiter
    replays: Replays
    keyring: Keyring
    denylist: Denylist
    seen: SeenTokens = field(default_factory=SeenTokens)
    stream: RevocationStream | None = None
    shared: Shared | None = None
    meter: Meter = field(default_factory=Meter)
    expired: Counter[str] = field(default_factory=Counter)

    async def start(self) -> None:
        """Bring keys and revocations up to date with the store; must have happened before the first request."""
        await keyrings.found(self.keyring, self.store, self.clock)
        await self.denylist.pull(self.store)

    async def catch_up(self) -> None:
        """Read what other processes changed: keys and revocations."""
        await self.keyring.refresh(self.store)
        await self.denylist.pull(self.store)

    def forget(self) -> None:
        """Drop from this node's memory what has expired; for every node to do."""
        self.expired["denylist_entries"] += self.denylist.forget(self.clock.now())

    async def upkeep(self, limit: int, lease: Lease | None = None) -> dict[str, int]:
        """Do the chores that one node does for all: the key schedule, and at most ``limit`` rows of each kind swept away.

        Returns the counts of ``Store.sweep``, and ``keys_changed``.

        Raises:
            SupersededError: With ``lease``: another node does them by now.
        """
        changed = await keyrings.keep_up(self.keyring, self.store, self.clock, lease)
        swept = await self.store.sweep(self.clock.now(), limit, lease)
        self.expired.update(swept)
        if sum(swept.values()) < limit:
            self.forget()  # goes through all entries: not for each of many batches
        return {**swept, "keys_changed": len(changed)}

    async def landscape(self, client: Client, role_names: tuple[str, ...]) -> Landscape:
        """Load what decides scope and audience: the client's resources and the subject's roles."""
        issuer = self.policy.issuer
        resources = {issuer: authority_as_resource(issuer)}
        for name in client.resources:
            if (resource := await self.store.resources.get(name)) is not None:
                resources[name] = resource
        roles = [await self.store.roles.get(name) for name in role_names]
        return Landscape(issuer, resources, [role for role in roles if role is not None])
