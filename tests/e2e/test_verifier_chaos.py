"""A verifier and a real authority, with everything between them going wrong: what is revoked stays out, nobody else.

Each test prints the longest time for which a revoked token was still accepted after its revocation was answered.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self

import pytest
from tests.e2e.distant_authority import Service, World, connections, is_stale, world
from tests.e2e.watching import Watch, Watched, outcome, wait_until
from tests.support.telling import tell

from mintmark.jose import base64url
from mintmark.verifier import Verifier
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock
from mintmark.verifier.source import STALE_AFTER

__all__ = ["world"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.spec("invariant I6")]

MANY: Final = 1000

LIVE_BOUND: Final = 2.0
"""Seconds from the answer to a revocation until a connected verifier rejects the token; two cores may be busy."""

RECONNECT_BOUND: Final = 10.0
"""Seconds from the end of an outage until everything revoked meanwhile is rejected: the longest pause is 7.5."""


def test_killed_and_started_again(world: World, request: pytest.FixtureRequest) -> None:
    """Three times: what is revoked live is rejected live; what was revoked a moment before the kill, after it."""
    process = world.start()
    live: list[float] = []
    after: list[float] = []
    with Watch(world.verifier()).going_on() as watch:
        watch.add(world.service.tokens(50))
        watch.whole_rounds()
        for _ in range(3):
            connected = watch.add(world.service.tokens(50))
            watch.whole_rounds()
            world.service.revoke(*connected)
            wait_until(lambda: all(outcome(watch.verifier, one.raw) == "revoked" for one in connected))  # noqa: B023
            live += [max(0.0, one.accepted_at - (one.revoked_at or 0)) for one in connected]
            last = watch.add(world.service.tokens(50))
            watch.whole_rounds()
            world.service.revoke(*last)
            world.kill(process)
            connected_before = connections(watch.verifier)
            # Nobody is rejected because the authority is away.
            watch.whole_rounds()
            process = world.start()
            back_at = time.monotonic()
            wait_until(lambda: connections(watch.verifier) > connected_before)  # noqa: B023
            wait_until(lambda: all(outcome(watch.verifier, one.raw) == "revoked" for one in last))  # noqa: B023
            after.append(time.monotonic() - back_at)
        watch.whole_rounds()
    assert max(live) < LIVE_BOUND
    assert max(after) < RECONNECT_BOUND
    tell(
        request,
        f"3 kills; 150 tokens revoked while connected were accepted for at most {max(live) * 1000:.0f} ms after the "
        f"answer; followed again and all revoked right before a kill rejected {max(after) * 1000:.0f} ms after a restart; "
        f"no false rejection in {watch.rounds} rounds",
    )


def test_a_thousand_revocations_while_the_feed_is_cut(world: World, request: pytest.FixtureRequest) -> None:
    world.start()
    with Watch(world.verifier()).going_on() as watch:
        bystanders = watch.add(world.service.tokens(100))
        revoked = watch.add(world.service.tokens(MANY))
        watch.whole_rounds()
        world.proxy.cut()
        world.service.revoke(*revoked)
        watch.whole_rounds()
        # Nobody could tell the verifier: this is what the posture `serve` means.
        assert outcome(watch.verifier, revoked[-1].raw) == "accepted"
        world.proxy.restore()
        restored_at = time.monotonic()
        wait_until(lambda: all(outcome(watch.verifier, one.raw) == "revoked" for one in revoked))
        watch.whole_rounds()
        assert {outcome(watch.verifier, one.raw) for one in bystanders} == {"accepted"}
        assert not is_stale(watch.verifier)
    lag = max(one.accepted_at - restored_at for one in revoked)
    assert lag < RECONNECT_BOUND
    tell(
        request,
        f"{MANY} tokens revoked while the feed was cut: all rejected, the last accepted {max(0, lag) * 1000:.0f} ms "
        f"after the way was open again; 100 others never rejected in {watch.rounds} rounds",
    )


@pytest.mark.spec("invariant I4")
def test_a_feed_that_is_swallowed_is_noticed(world: World, request: pytest.FixtureRequest) -> None:
    """No RST, no FIN: only the silence tells. Each posture then does what it says."""
    world.start()
    postures: tuple[Any, ...] = ("serve", "introspect", "deny")
    verifiers = {posture: world.verifier(on_stale=posture) for posture in postures}
    good, bad = world.service.token(), Watched(world.service.token())
    assert {outcome(one, raw) for one in verifiers.values() for raw in (good, bad.raw)} == {"accepted"}

    world.proxy.swallow(b"/api/v2/auth/revocations")
    swallowed_at = time.monotonic()
    world.service.revoke(bad)
    stale_after = {posture: wait_until(partial(is_stale, one), STALE_AFTER + 5) for posture, one in verifiers.items()}
    noticed = time.monotonic() - swallowed_at
    assert max(stale_after.values()) <= noticed < STALE_AFTER + 1
    assert {posture: (outcome(one, good), outcome(one, bad.raw)) for posture, one in verifiers.items()} == {
        "serve": ("accepted", "accepted"),
        "introspect": ("accepted", "inactive"),
        "deny": ("unavailable", "unavailable"),
    }

    # Now the authority cannot be asked either.
    world.proxy.swallow()
    assert outcome(verifiers["serve"], good) == "accepted"
    assert outcome(verifiers["deny"], good) == "unavailable"
    wait_until(lambda: outcome(verifiers["introspect"], good) == "unavailable", STALE_AFTER + 10)
    assert outcome(verifiers["introspect"], bad.raw) == "unavailable"

    world.proxy.restore()
    restored_at = time.monotonic()
    wait_until(lambda: not any(map(is_stale, verifiers.values())))
    fresh_again = time.monotonic() - restored_at
    assert {outcome(one, bad.raw) for one in verifiers.values()} == {"revoked"}
    assert {outcome(one, good) for one in verifiers.values()} == {"accepted"}
    assert fresh_again < RECONNECT_BOUND + 2
    tell(
        request,
        f"a swallowed feed was noticed by all postures after {noticed:.1f} s (bound {STALE_AFTER:.0f} s after the last "
        f"heartbeat); introspect and deny accepted the revoked token no longer from then on; fresh again "
        f"{fresh_again:.1f} s after the way was open",
    )


class SkewedClock:
    """The time of a machine whose clock is wrong; what it measures of its own uptime is right."""

    def __init__(self, skew: float) -> None:
        self.skew = skew
        self.uptime = SYSTEM_CLOCK.uptime

    def now(self) -> float:
        return SYSTEM_CLOCK.now() + self.skew


@pytest.mark.spec("J09")
@pytest.mark.parametrize("skew", [-20, 20])
def test_a_wrong_clock(world: World, request: pytest.FixtureRequest, skew: int) -> None:
    """Nobody is rejected for it, and no revoked token lives for it, not even at the end of its life."""
    world.start()
    clock = SkewedClock(skew)
    as_port: Clock = clock
    with Watch(world.verifier(clock=as_port)).going_on() as watch:
        for _ in range(10):
            # The newest tokens are those that begin "in the future".
            (one, _) = watch.add(world.service.tokens(2))
            watch.whole_rounds()
            assert outcome(watch.verifier, one.raw) == "accepted"
            world.service.revoke(one)
            wait_until(lambda: outcome(watch.verifier, one.raw) == "revoked")  # noqa: B023
        watch.whole_rounds()
        lag = max(watch.lags())
    assert lag < LIVE_BOUND
    good = next(one for one in watch.tokens if one.revoked_at is None)
    gone = next(one for one in watch.tokens if one.revoked_at is not None)
    ends = json.loads(base64url.decode(good.raw.split(".")[1]))["exp"] - SYSTEM_CLOCK.now()
    for seconds, expected in ((ends - 40 + skew, "accepted"), (ends + 25, "accepted"), (ends + 31, "expired")):
        clock.skew = seconds
        # A remembered result counts on the uptime, and looks at the clock again within a second.
        wait_until(lambda: outcome(watch.verifier, good.raw) == expected)  # noqa: B023
        assert outcome(watch.verifier, gone.raw) in {"revoked", "expired"}
    tell(
        request,
        f"clock {skew:+} s: 10 revoked tokens accepted for at most {lag * 1000:.0f} ms after the answer; no false rejection "
        f"in {watch.rounds} rounds; rejected to the end of their lives",
    )


@dataclass
class Load:
    """A thread that asks for tokens as fast as it gets them, and verifies each, and old ones of every key.

    Attributes:
        by_kid: What was issued, by the key that signed it.
        wrong: What became of those that were not accepted.
    """

    service: Service
    verifier: Verifier
    by_kid: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _is_over: bool = False

    @property
    def issued(self) -> int:
        return sum(map(len, self.by_kid.values()))

    @contextmanager
    def going_on(self) -> Iterator[Self]:
        thread = threading.Thread(target=self._go_on)
        thread.start()
        try:
            yield self
        finally:
            self._is_over = True
            thread.join()
        assert self.wrong == []

    def _go_on(self) -> None:
        try:
            while not self._is_over:
                raw = self.service.token()
                self.by_kid.setdefault(_kid(raw), []).append(raw)
                # The first of a key, one in the middle, and the one that is new.
                for known in self.by_kid.values():
                    self.wrong += [
                        said
                        for one in {known[0], known[len(known) // 2], known[-1]}
                        if (said := outcome(self.verifier, one)) != "accepted"
                    ]
        except Exception as problem:  # noqa: BLE001 - the test has to learn of it
            self.wrong.append(repr(problem))


def _kid(raw: str) -> str:
    kid: str = json.loads(base64url.decode(raw.split(".", maxsplit=1)[0]))["kid"]
    return kid


@pytest.mark.spec("K02", "S05", "invariant I7")
def test_keys_rotate_under_load(world: World, request: pytest.FixtureRequest) -> None:
    """Three rotations while tokens are issued and verified as fast as it goes; then a key is withdrawn at once."""
    world.start()
    verifier = world.verifier()
    began = time.monotonic()
    with Load(world.service, verifier).going_on() as load:
        wait_until(lambda: load.issued or load.wrong)
        for keys in (2, 3, 4):
            world.rotate()
            wait_until(lambda: len(load.by_kid) == keys or load.wrong)  # noqa: B023
        after = load.issued + 20
        wait_until(lambda: load.issued >= after or load.wrong)
    seconds = time.monotonic() - began

    first, *others = load.by_kid
    with Watch(verifier).going_on() as watch:
        (stolen,) = watch.add(load.by_kid[first][-1:])
        stolen.may_go = True
        watch.add([load.by_kid[kid][-1] for kid in others])
        watch.whole_rounds()
        world.command("keys", "retire", first, "--emergency", "--yes")
        stolen.revoked_at = time.monotonic()
        wait_until(lambda: outcome(verifier, stolen.raw) in {"revoked", "unknown_key"})
        watch.whole_rounds()
    (lag,) = watch.lags()
    assert lag < LIVE_BOUND
    assert all(outcome(verifier, raw) != "accepted" for raw in load.by_kid[first])
    assert {outcome(verifier, raw) for kid in others for raw in load.by_kid[kid]} == {"accepted"}
    tell(
        request,
        f"3 rotations in {seconds:.0f} s, {load.issued} tokens of {len(load.by_kid)} keys: no false rejection; tokens of a "
        f"key withdrawn at once were accepted for at most {lag * 1000:.0f} ms after the command had ended",
    )
