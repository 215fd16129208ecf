"""Those who take grants and tokens back: people who sign out, and thieves whose loot is too old.

Before anything is taken back, the verifiers have seen its access tokens; after it was answered, they get to see those
as well that were under way.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final

from tests.chaos.asking import UnansweredError, post
from tests.chaos.clients import Device, Population
from tests.chaos.history import Revocation, digest_of
from tests.chaos.services import Services

_PATIENCE: Final = 6.0
_PAUSE: Final = 0.3
_SEEN_FOR: Final = 0.5
"""Seconds for which verifiers see a token before it is revoked."""
_OLD: Final = 3
"""Generations by which a thief is behind at least: far outside the grace, whatever is under way."""


@dataclass
class Endings:
    """Takes back one thing after the other."""

    population: Population
    services: Services
    chance: random.Random

    async def go_on(self, every: float) -> None:
        """Take something back every so many seconds."""
        kinds: list[Callable[[Device], Coroutine[None, None, None]]] = [self.sign_out, self.steal, self.revoke_one]
        async with asyncio.TaskGroup() as tasks:
            for kind in itertools.cycle(kinds):
                await asyncio.sleep(self.chance.uniform(0.5 * every, 1.5 * every))
                known = [device for device in self.population.devices if len(device.older) > _OLD and not device.is_out]
                if not known or not self.population.spare:
                    continue
                device = self.chance.choice(known)
                if kind != self.revoke_one:
                    self.population.lose(device)
                tasks.create_task(kind(device))

    async def sign_out(self, device: Device) -> None:
        """Revoke a grant by its current refresh token (RFC 7009 §2.1)."""
        await self._show(device)
        asked_at = time.monotonic()
        self._note(device, asked_at, None)
        done_at = await self._until_answered(device.refresh_token)
        self._note(device, asked_at, done_at)
        self.services.watch(device.seed.gid, device.access_tokens[-2:])

    async def revoke_one(self, device: Device) -> None:
        """Revoke one access token; the grant lives on."""
        await self._show(device)
        token = device.access_tokens[-1]
        asked_at = time.monotonic()
        self._note(device, asked_at, None, token)
        self._note(device, asked_at, await self._until_answered(token), token)

    async def steal(self, device: Device) -> None:
        """Present an old refresh token until it is answered: the grant is over then, for the client as well."""
        await self._show(device)
        loot, asked_at = device.older[-_OLD], time.monotonic()
        self._note(device, asked_at, None)
        attempt = await device.present(loot, "thief")
        while attempt.outcome == "unknown":
            await asyncio.sleep(_PAUSE)
            attempt = await device.present(loot, "thief")
        if attempt.outcome == "refused":
            self._note(device, asked_at, attempt.over_at)
            self.services.watch(device.seed.gid, device.access_tokens[-2:])

    async def _show(self, device: Device) -> None:
        self.services.watch(device.seed.gid, device.access_tokens[-2:])
        await asyncio.sleep(_SEEN_FOR)

    def _note(self, device: Device, asked_at: float, done_at: float | None, token: str | None = None) -> None:
        name = None if token is None else digest_of(token)
        revocation = Revocation(grant=device.seed.gid, access_token=name, asked_at=asked_at, done_at=done_at)
        self.population.world.history.revocations.append(revocation)

    async def _until_answered(self, token: str) -> float:
        form = {"token": token} | self.population.world.inhabitants.credentials
        while True:
            try:
                answer = await post(self.population.world.port, "/revoke", form, _PATIENCE)
            except UnansweredError as problem:
                self.population.world.answers[f"revoking: {problem}"] += 1
            else:
                self.population.world.answers[f"revoking: {answer}"] += 1
                if answer.status == 200:
                    return time.monotonic()
            await asyncio.sleep(_PAUSE)
