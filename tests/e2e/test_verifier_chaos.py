"""A verifier and a real authority, with everything between them going wrong: what is revoked stays out, nobody else.

Each test prints the longest time for which a revoked token was still accepted after its revocation was answered.
"""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import anyio
import pytest
from pydantic import SecretBytes
from tests.support.proxy import Proxy, proxy_to
from tests.support.telling import tell
from tests.unit.cli.processes import Process, clean_environment, free_port, started

from mintmark import bootstrap
from mintmark.authority.model import Client, Resource
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource
from mintmark.config import Settings
from mintmark.jose import base64url
from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock
from mintmark.verifier.source import STALE_AFTER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.spec("invariant I6")]

API: Final = "https://api.example"
MANY: Final = 1000

LIVE_BOUND: Final = 2.0
"""Seconds from the answer to a revocation until a connected verifier rejects the token; two cores may be busy."""

RECONNECT_BOUND: Final = 10.0
"""Seconds from the end of an outage until everything revoked meanwhile is rejected: the longest pause is 7.5."""

PATIENCE: Final = 60.0
"""Seconds after which a test gives up waiting for what has to come about."""


@dataclass
class Watched:
    """A token, and what became of it."""

    raw: str
    may_go: bool = False
    revoked_at: float | None = None
    accepted_at: float = 0.0


@dataclass
class Watch:
    """A thread that verifies the same tokens over and over, as the traffic of a service does.

    Attributes:
        wrong: Rejections of tokens that nobody has revoked.
    """

    verifier: Verifier
    tokens: list[Watched] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    rounds: int = 0
    _is_over: bool = False

    def add(self, raws: list[str]) -> list[Watched]:
        added = [Watched(raw) for raw in raws]
        self.tokens += added
        return added

    @contextmanager
    def going_on(self) -> Iterator[Self]:
        thread = threading.Thread(target=self._verify_for_ever)
        thread.start()
        try:
            yield self
        finally:
            self._is_over = True
            thread.join()
        assert self.wrong == []

    def whole_rounds(self, count: int = 2) -> None:
        """Wait until every token was looked at so often."""
        done = self.rounds + count
        wait_until(lambda: self.rounds >= done)

    def lags(self) -> list[float]:
        """How long each revoked token was still accepted after its revocation was answered, seconds."""
        return [max(0.0, one.accepted_at - one.revoked_at) for one in self.tokens if one.revoked_at is not None]

    def _verify_for_ever(self) -> None:
        while not self._is_over:
            for one in list(self.tokens):
                may_go = one.may_go
                began = time.monotonic()
                try:
                    self.verifier.verify(one.raw)
                    one.accepted_at = began
                except (TokenRejected, VerifierUnavailable) as problem:
                    if not may_go:
                        self.wrong.append(repr(problem))
            self.rounds += 1
            time.sleep(0.001)  # other threads want to go on as well


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait for something that has to come about; return how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come about"
        time.sleep(0.005)
    return time.monotonic() - began


def outcome(verifier: Verifier, raw: str) -> str:
    try:
        verifier.verify(raw)
    except TokenRejected as problem:
        return problem.code
    except VerifierUnavailable:
        return "unavailable"
    return "accepted"


class Service:
    """The client that asks for tokens and revokes them, past the proxy and on connections of its own."""

    def __init__(self, port: int, secret: str) -> None:
        self.secret = secret
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._asked_at = 0.0

    def token(self) -> str:
        raw: str = json.loads(self._post("/token", grant_type="client_credentials"))["access_token"]
        return raw

    def tokens(self, count: int) -> list[str]:
        return [self.token() for _ in range(count)]

    def revoke(self, *tokens: Watched) -> None:
        """Revoke, and note when that was answered."""
        for one in tokens:
            one.may_go = True
            self._post("/revoke", token=one.raw)
            one.revoked_at = time.monotonic()

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, path: str, **form: str) -> bytes:
        # The authority hangs up on who says nothing for five seconds.
        if self._connection is None or time.monotonic() - self._asked_at > 2:
            self.hang_up()
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        headers = {
            "authorization": "Basic " + b64encode(f"service:{self.secret}".encode()).decode(),
            "content-type": "application/x-www-form-urlencoded",
        }
        self._connection.request("POST", f"/api/v2/auth{path}", urlencode(form), headers)
        response = self._connection.getresponse()
        body = response.read()
        self._asked_at = time.monotonic()
        assert response.status == 200, body
        return body


@dataclass
class World:
    """An authority with a proxy in front of it; the issuer is the proxy, so that verifiers know no other way."""

    folder: Path
    port: int
    proxy: Proxy
    service: Service
    issuer: str
    _stack: ExitStack

    def start(self) -> Process:
        """Start the authority; it ends with the test at the latest."""
        process = self._stack.enter_context(
            started(self.folder, "serve", "--config", str(self.folder / "mintmark.toml"))
        )
        process.read_until("mintmark is ready")
        return process

    def kill(self, process: Process) -> None:
        """End it as a power failure would."""
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        self.service.hang_up()

    def command(self, *args: str) -> None:
        """Run ``mintmark`` on the same database."""
        done = self.attempt(*args)
        assert done.returncode == 0, done.stderr

    def rotate(self) -> None:
        """Rotate the signing key, as soon as there is one that waits to take over."""

        def has_rotated() -> bool:
            done = self.attempt("keys", "rotate", "--alg", "ES256")
            assert done.returncode == 0 or "try again soon" in done.stderr, done.stderr
            return done.returncode == 0

        wait_until(has_rotated)

    def attempt(self, *args: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "mintmark.cli.main", *args, "--config", str(self.folder / "mintmark.toml")]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False)

    def verifier(self, **options: Any) -> Verifier:
        """A verifier that knows the authority through the proxy, and has caught up."""
        made = Verifier(self.issuer, API, client_id="service", client_secret=self.service.secret, **options)
        self._stack.callback(made.close)
        raw = self.service.token()
        wait_until(lambda: outcome(made, raw) == "accepted" and connections(made))
        return made


def is_stale(verifier: Verifier) -> bool:
    return bool(_metric(verifier, "feed_stale"))


def connections(verifier: Verifier) -> float:
    """How often the feed was opened."""
    return _metric(verifier, "feed_connects_total")


def _metric(verifier: Verifier, name: str) -> float:
    (value,) = [value for found, value in verifier.metrics().items() if f"_{name}{{" in found]
    return value


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    port = free_port()
    with ExitStack() as stack:
        proxy = stack.enter_context(proxy_to(port))
        issuer = f"http://127.0.0.1:{proxy.port}"
        settings: dict[str, Any] = {
            "issuer": issuer,
            "port": port,
            "database": str(tmp_path / "mintmark.sqlite3"),
            # Longer than a verifier waits between two attempts to find a key; shorter than a test.
            "jwks_lifetime": 6,
            "key_rotation_interval": 3600,
            # The next key is made then; by default a test would wait a minute for it.
            "cleanup_interval": 1,
        }
        key = tmp_path / "mintmark.key"
        key.write_text(bytes(32).hex())
        key.chmod(0o600)
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
        (tmp_path / "mintmark.toml").write_text("".join([*lines, f'master_key_file = "{key}"\n']))
        secret = anyio.run(_found, Settings(**settings, master_key=SecretBytes(bytes(32))))
        service = Service(port, secret)
        stack.callback(service.hang_up)
        yield World(tmp_path, port, proxy, service, issuer, stack)


async def _found(settings: Settings) -> str:
    async with bootstrap.running(settings) as authority:
        await create_resource(authority, Resource(resource=API, name="Orders", scopes=("orders:read",)))
        client = Client(
            client_id="service",
            name="Order service",
            grant_types=("client_credentials",),
            scope=("orders:read",),
            resources=(API,),
            default_resource=API,
            serves=(API,),
            access_token_signed_response_alg="ES256",
        )
        _, secret = await create_client(authority, client)
        assert secret is not None
        return secret


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
