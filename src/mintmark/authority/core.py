"""The authority put together: its policy, its ports and what it keeps in memory. Use cases take it as first argument."""

from dataclasses import dataclass, field

from mintmark.authority import keyring as keyrings
from mintmark.authority.denylist import Denylist
from mintmark.authority.keyring import Keyring
from mintmark.authority.model import Client
from mintmark.authority.policy import Policy
from mintmark.authority.ports import Clock, Limiter, Passwords, Randomness, Signer, Store
from mintmark.authority.seen import SeenTokens
from mintmark.authority.targeting import Landscape, authority_as_resource


@dataclass(frozen=True, slots=True)
class Authority:
    """Everything a use case needs. Made by ``bootstrap`` only."""

    policy: Policy
    store: Store
    clock: Clock
    randomness: Randomness
    signer: Signer
    passwords: Passwords
    limiter: Limiter
    keyring: Keyring
    denylist: Denylist
    seen: SeenTokens = field(default_factory=SeenTokens)

    async def start(self) -> None:
        """Bring keys and revocations up to date with the store; must have happened before the first request."""
        await keyrings.keep_up(self.keyring, self.store, self.clock)
        await self.denylist.pull(self.store)

    async def catch_up(self) -> None:
        """Read what other processes changed: keys and revocations."""
        await self.keyring.refresh(self.store)
        await self.denylist.pull(self.store)

    async def upkeep(self, limit: int) -> dict[str, int]:
        """Do the chores that are due: the key schedule, and at most ``limit`` rows of each kind swept away."""
        changed = await keyrings.keep_up(self.keyring, self.store, self.clock)
        now = self.clock.now()
        swept = await self.store.sweep(now, limit)
        self.denylist.forget(now)
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
