"""Clients that refresh, each as a good client does: the same token again until there is an answer, with pauses.

A good client keeps its token until it has the next one, throws it away on ``invalid_grant`` only, and never asks on
while an answer may be on its way, but that its patience is over. Some send everything twice at once, as two tabs of a
browser do.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.asking import UnansweredError, post
from tests.chaos.history import Attempt, By, History, Outcome, digest_of
from tests.chaos.inhabitants import Inhabitants, Seed

from mintmark.authority import derivation

_PACE: Final = (1.0, 2.0)
_PATIENCE: Final = (2.0, 8.0)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_TWICE_SHARE: Final = 10
_UNKNOWN: Final[Outcome] = "unknown"
_OUTCOMES: Final[dict[str, Outcome]] = {"200": "rotated", "400 invalid_grant": "refused"}
_ASKED_AFTER_REFUSAL: Final = 3
"""What was refused is asked for again, which a real client would not do: it has to stay refused."""


@dataclass
class World:
    """What all clients share.

    Attributes:
        port: Where the load balancer listens.
        answers: How often each answer came.
        is_over: No client begins another refresh.
    """

    port: int
    inhabitants: Inhabitants
    history: History
    answers: Counter[str] = field(default_factory=Counter)
    is_over: bool = False


@dataclass(eq=False)
class Device:
    """A client with one grant.

    Attributes:
        refresh_token: The one it has.
        older: All it had before, oldest first; the thief's loot.
        access_tokens: All it was given.
        is_out: Whether it was refused for good.
    """

    world: World
    seed: Seed
    chance: random.Random
    refresh_token: str = field(init=False, repr=False)
    older: list[str] = field(default_factory=list, repr=False)
    access_tokens: list[str] = field(default_factory=list, repr=False)
    is_out: bool = False

    def __post_init__(self) -> None:
        self.refresh_token = self.seed.refresh_token
        self._patience = self.chance.uniform(*_PATIENCE)
        self._is_two = self.chance.randrange(_TWICE_SHARE) == 0

    async def live(self) -> None:
        """Refresh now and then until the world is over or the grant is."""
        while not self.world.is_over and not self.is_out:
            await asyncio.sleep(self.chance.uniform(*_PACE))
            await self.refresh()

    async def refresh(self) -> None:
        """Ask until there is an answer."""
        pause, refusals = _FIRST_PAUSE, 0
        for _ in itertools.count():
            both = [self.present(self.refresh_token) for _ in range(2 if self._is_two else 1)]
            attempts = await asyncio.gather(*both)
            if any(one.outcome == "rotated" for one in attempts):
                return
            refusals += any(one.outcome == "refused" for one in attempts)
            if refusals >= _ASKED_AFTER_REFUSAL:
                self.is_out = True
                return
            await asyncio.sleep(self.chance.uniform(0, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def present(self, token: str, by: By = "client") -> Attempt:
        """Present a token of this grant once, note what came of it, and keep what was given."""
        parsed = derivation.parse(token, "refresh")
        assert parsed is not None
        form = {"grant_type": "refresh_token", "refresh_token": token}
        form |= self.world.inhabitants.credentials
        sent_at, outcome, found = time.monotonic(), _UNKNOWN, dict[str, str]()
        try:
            answer = await post(self.world.port, "/token", form, self._patience)
        except UnansweredError as problem:
            said = str(problem)
        else:
            said, outcome = str(answer), _OUTCOMES.get(str(answer), _UNKNOWN)
            found = answer.body if outcome == "rotated" else {}
        over_at = time.monotonic()
        self.world.answers[said] += 1
        successor, access_token = found.get("refresh_token"), found.get("access_token")
        if access_token is not None:
            self.access_tokens.append(access_token)
        attempt = Attempt(
            grant=self.seed.gid,
            generation=parsed.generation,
            presented=digest_of(token),
            by=by,
            sent_at=sent_at,
            over_at=over_at,
            outcome=outcome,
            answer=said,
            successor=None if successor is None else (digest_of(successor), _generation_of(successor)),
            access_token=None if access_token is None else digest_of(access_token),
        )
        self.world.history.attempts.append(attempt)
        if successor is not None and by == "client" and token == self.refresh_token:
            self.older.append(token)
            self.refresh_token = successor
        return attempt


@dataclass
class Population:
    """All clients: for each whose grant is ended another one comes, while there are grants left.

    Attributes:
        spare: Grants that nobody has yet.
        devices: Clients whose grants nobody has ended.
    """

    world: World
    chance: random.Random
    spare: list[Seed] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    _living: list[asyncio.Task[None]] = field(default_factory=list)

    def admit(self) -> None:
        """Let one more client begin."""
        device = Device(self.world, self.spare.pop(), random.Random(self.chance.random()))
        self.devices.append(device)
        self._living.append(asyncio.create_task(device.live()))

    def lose(self, device: Device) -> None:
        """Note that this client's grant is about to be ended; let another begin."""
        self.devices.remove(device)
        self.admit()

    async def end(self, patience: float) -> None:
        """Let all come to an answer; who has none after so many seconds is cut short."""
        self.world.is_over = True
        _, hanging = await asyncio.wait(self._living, timeout=patience)
        for task in hanging:
            task.cancel()
        await asyncio.wait(self._living)
        for task in self._living:
            if not task.cancelled():
                task.result()


def _generation_of(token: str) -> int:
    parsed = derivation.parse(token, "refresh")
    return 0 if parsed is None else parsed.generation
