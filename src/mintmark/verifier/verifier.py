"""The verifier of a service: is this access token good, here and now?

``verify`` looks at what is in memory: results of the last minutes, keys and revocations that background threads keep.
It does I/O only at the first request, for a key id it has never seen, and where the issuer itself has to be asked.
What decides never waits, so that ``verify`` and ``averify`` share all of it.
"""

import asyncio
import os
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NoReturn, Self

from mintmark.jose import jwt
from mintmark.verifier.errors import REJECTION_CODES, TokenRejected, VerifierUnavailable
from mintmark.verifier.http import HTTPTransport
from mintmark.verifier.judging import POSTURES, Judge, OnStale, Wait
from mintmark.verifier.ports import SYSTEM_CLOCK, Clock, Transport
from mintmark.verifier.results import ResultCache
from mintmark.verifier.source import Issuer, Source
from mintmark.verifier.token import Token

Introspect = Literal["when_needed", "always"]

_WAITING_THREADS: Final = 8

_WAITS_LEFT: Final = (3, 2, 1, 0)
"""One each for a first request, an unknown key and an answer of the issuer, and a last attempt without."""


class Verifier:
    """Verifies access tokens of the issuers it trusts. Safe to share between threads, and across forks.

    Args:
        issuer: The issuer identifier (an https URL; http on loopback), or several issuers as `Issuer` values.
        audience: What this service is called in the ``aud`` of its tokens; one name or several. With one issuer only.
        client_id: What this service is registered as at the issuer. Without it revocations are not heard of, and
            opaque tokens cannot be verified.
        client_secret: Its secret.
        on_stale: What to do while the revocation feed is silent for longer than 15 seconds.
        introspect: ``always`` asks the issuer about every token that is good by itself; answers are remembered.
        leeway: Clock difference to forgive at ``exp`` and ``nbf``, seconds.
        transport: How to reach issuers; the default is HTTPS by the standard library.
        clock: Time; replaced in tests.

    Raises:
        ValueError: A setting is out of bounds, or contradicts another.
    """

    def __init__(
        self,
        issuer: str | Iterable[Issuer],
        audience: str | Iterable[str] = (),
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        on_stale: OnStale = "serve",
        introspect: Introspect = "when_needed",
        leeway: int = 30,
        transport: Transport | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if isinstance(issuer, str):
            issuers = [Issuer(url=issuer, audience=audience, client_id=client_id, client_secret=client_secret)]
        else:
            issuers = list(issuer)
            if audience or client_id or client_secret:
                raise ValueError("with several issuers, each has its own audience and client: give them to Issuer")
        _check(issuers, on_stale, introspect, leeway)
        self._on_stale: Final[OnStale] = on_stale
        self._introspect: Final[Introspect] = introspect
        self._leeway: Final = leeway
        self._own_transport: HTTPTransport | None = None
        if transport is None:
            transport = self._own_transport = HTTPTransport()
        self._trust(issuers, transport, clock)
        self._rejections: Counter[str] = Counter()
        self._unavailable = 0
        self._executor: ThreadPoolExecutor | None = None
        self._verifications = 0
        weakref.finalize(self, _close, list(self._sources.values()), self._own_transport)
        _alive.add(self)

    def _trust(self, issuers: Iterable[Issuer], transport: Transport, clock: Clock) -> None:
        make = partial(Source, transport=transport, clock=clock, leeway=self._leeway)
        self._sources: Mapping[str, Source] = {one.url: make(one) for one in issuers}
        self._judge: Judge = Judge(
            self._sources,
            clock=clock,
            on_stale=self._on_stale,
            asks_always=self._introspect == "always",
            leeway=self._leeway,
        )
        # Bound once: the look-ups would be a good part of a cached verification.
        self._results: ResultCache = self._judge.results
        self._uptime: Callable[[], float] = clock.uptime

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Make the verifier that the environment describes.

        ``MINTMARK_ISSUER`` and ``MINTMARK_AUDIENCE`` (names separated by spaces) are needed; ``MINTMARK_CLIENT_ID``,
        ``MINTMARK_CLIENT_SECRET`` or ``MINTMARK_CLIENT_SECRET_FILE``, and ``MINTMARK_ON_STALE`` may be there.

        Raises:
            ValueError: One is missing or wrong; the message names it.
        """
        values = os.environ if environ is None else environ
        for name in ("MINTMARK_ISSUER", "MINTMARK_AUDIENCE"):
            if not values.get(name):
                raise ValueError(f"{name} is not set")
        on_stale = values.get("MINTMARK_ON_STALE", "serve")
        if on_stale not in POSTURES:
            raise ValueError(f"MINTMARK_ON_STALE is one of {', '.join(sorted(POSTURES))}")
        return cls(
            values["MINTMARK_ISSUER"],
            values["MINTMARK_AUDIENCE"].split(),
            client_id=values.get("MINTMARK_CLIENT_ID") or None,
            client_secret=_secret(values),
            on_stale=on_stale,  # type: ignore[arg-type] # looked at above
        )

    def verify(self, raw: str, *, on_stale: OnStale | None = None) -> Token:
        """Return what the access token ``raw`` says.

        Args:
            raw: The token as it was sent, without ``Bearer``.
            on_stale: Instead of the verifier's own, for this request.

        Raises:
            TokenRejected: It is not good; ``code`` says why.
            VerifierUnavailable: That cannot be said just now.
        """
        result = self._results.young.get(raw)
        if result is not None and result.until > self._uptime() < result.state.fresh_until:
            return result.token
        self._verifications += 1
        try:
            for waits_left in _WAITS_LEFT:
                try:
                    return self._judge.settle(raw, on_stale, waits_left)
                except Wait as wait:
                    act = wait.act
                act()
            return _give_up()
        except (TokenRejected, VerifierUnavailable) as problem:
            self._count(problem)
            raise

    async def averify(self, raw: str, *, on_stale: OnStale | None = None) -> Token:
        """Return what the access token ``raw`` says, without ever blocking the event loop (asyncio).

        Arguments and errors are those of `verify`.
        """
        # The same words as in `verify`: a call would cost a good part of a remembered verification.
        result = self._results.young.get(raw)
        if result is not None and result.until > self._uptime() < result.state.fresh_until:
            return result.token
        self._verifications += 1
        try:
            for waits_left in _WAITS_LEFT:
                try:
                    return self._judge.settle(raw, on_stale, waits_left)
                except Wait as wait:
                    act = wait.act
                await asyncio.get_running_loop().run_in_executor(self._waiting_room(), act)
            return _give_up()
        except (TokenRejected, VerifierUnavailable) as problem:
            self._count(problem)
            raise

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers trusted, in the order they were named."""
        return tuple(self._sources)

    def start(self) -> bool:
        """Do what the first request would do: start the background threads, wait a moment for keys and revocations.

        Returns whether the keys of all issuers are known now; if not, that goes on being tried.
        """
        for source in self._sources.values():
            source.prepare()
        return all(source.keys.keys is not None for source in self._sources.values())

    def catch_up(self) -> None:
        """Fetch keys that are due, and read revocations until there are no more; for tests and scripts.

        From then on nothing happens in the background: whoever calls this once has to go on calling it.
        """
        for source in self._sources.values():
            source.catch_up()

    def _count(self, problem: TokenRejected | VerifierUnavailable) -> None:
        if isinstance(problem, TokenRejected):
            self._rejections[problem.code] += 1
        else:
            self._unavailable += 1

    def close(self) -> None:
        """End the background threads; what is in memory goes on ageing."""
        _close(self._sources.values(), self._own_transport)
        room, self._executor = self._executor, None
        if room is not None:
            room.shutdown(wait=False)

    def _waiting_room(self) -> ThreadPoolExecutor:
        # Not the event loop's own: whoever sends tokens that make wait would keep the application from its threads.
        room = self._executor
        if room is None:
            room = self._executor = ThreadPoolExecutor(_WAITING_THREADS, "mintmark-waiting")
        return room

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def audience(self) -> frozenset[str]:
        """What this service is called in the ``aud`` of its tokens, at whichever issuer."""
        return frozenset().union(*(source.audience for source in self._sources.values()))

    @contextmanager
    def trusting(
        self, issuer: str, *, client_id: str, client_secret: str, transport: Transport, clock: Clock
    ) -> Iterator[None]:
        """Trust only ``issuer`` while the context lasts; for tests, see `mintmark.testing.Mint.adopt`.

        The audience and the options stay. Nobody may be verifying when the context begins or ends.
        """
        own = self._sources, self._judge, self._results, self._uptime
        stand_in = Issuer(url=issuer, audience=self.audience, client_id=client_id, client_secret=client_secret)
        self._trust([stand_in], transport, clock)
        try:
            yield
        finally:
            self.close()
            self._sources, self._judge, self._results, self._uptime = own

    def metrics(self) -> dict[str, float]:
        """Return counters and gauges, named as Prometheus names them, labels included."""
        found: dict[str, float] = {
            "mintmark_verifier_verifications_total": self._verifications,
            "mintmark_verifier_unavailable_total": self._unavailable,
            "mintmark_verifier_results": self._judge.count,
        }
        for code in sorted(REJECTION_CODES):
            found[f'mintmark_verifier_rejections_total{{code="{code}"}}'] = self._rejections[code]
        for source in self._sources.values():
            for name, value in source.metrics().items():
                found[f'mintmark_verifier_{name}{{issuer="{_label(source.issuer)}"}}'] = value
        return found


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _give_up() -> NoReturn:
    raise VerifierUnavailable("what was waited for did not last")


def _check(issuers: list[Issuer], on_stale: str, introspect: str, leeway: int) -> None:
    if not issuers:
        raise ValueError("name at least one issuer")
    if len({one.url for one in issuers}) < len(issuers):
        raise ValueError("an issuer is named twice: give one Issuer several audiences instead")
    if on_stale not in POSTURES:
        raise ValueError(f"on_stale is one of {', '.join(sorted(POSTURES))}")
    if introspect not in {"when_needed", "always"}:
        raise ValueError("introspect is when_needed or always")
    if not 0 <= leeway <= jwt.MAX_LEEWAY:
        raise ValueError(f"leeway is 0 to {jwt.MAX_LEEWAY} seconds")
    is_client = all(one.client_id is not None for one in issuers)
    if (on_stale == "introspect" or introspect == "always") and not is_client:
        raise ValueError("to introspect, this service needs a client_id and client_secret at every issuer")
    if on_stale == "deny" and not is_client:
        raise ValueError("without a client_id and client_secret revocations are not heard of, so nothing can be denied")


def _secret(values: Mapping[str, str]) -> str | None:
    path = values.get("MINTMARK_CLIENT_SECRET_FILE")
    if not path:
        return values.get("MINTMARK_CLIENT_SECRET") or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError as problem:
        raise ValueError(f"MINTMARK_CLIENT_SECRET_FILE cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("MINTMARK_CLIENT_SECRET_FILE is no text") from None


def _close(sources: Iterable[Source], transport: HTTPTransport | None) -> None:
    for source in sources:
        source.close()
    if transport is not None:
        transport.close()


_alive: Final["weakref.WeakSet[Verifier]"] = weakref.WeakSet()


def _reset_all_after_fork() -> None:
    for verifier in list(_alive):
        verifier._executor = None  # noqa: SLF001 - its threads exist in the parent only
        verifier._judge.reset_after_fork()  # noqa: SLF001 - the other half of the same class


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_reset_all_after_fork)
