"""Metrics as Prometheus reads them: the plain numbers of one process, put into words when somebody asks.

Nothing is measured here and nothing is kept, so whoever answers requests pays for none of it. Labels are bounded: by
the route table, the registered error codes, the handful of keys; never a client, a person or a token.
"""

import asyncio
import contextlib
import platform
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final, get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mintmark import __version__
from mintmark.asgi import ASGIApp, Incoming, Reply, endpoint
from mintmark.authority import keys as schedule
from mintmark.authority.core import Authority
from mintmark.authority.decisions import Verdict
from mintmark.authority.denylist import Denylist
from mintmark.authority.meter import BOUNDS, Durations, Meter, Misfit
from mintmark.authority.ports import StoreUnavailableError
from mintmark.authority.sharing import Shared
from mintmark.oauth.errors import OAuthError

PATH: Final = "/metrics"

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at whether the store was read again: how exact the feed's lag is."""
_PATIENCE: Final = 1.0
"""Seconds that the store may take to say what this node has not read yet."""
_MAX_BEHIND: Final = 10_000

_EXPIRED: Final = {
    "grants_expired": ("grants_expired", "Grants removed that had expired"),
    "grants_ended": ("ended_grants_removed", "Grants removed that had been ended before"),
    "sessions_expired": ("sessions_expired", "Browser sessions removed that had expired"),
    "revocations": ("revocations_expired", "Revocations removed from the database, since all they name has expired"),
    "keys": ("keys_expired", "Signing keys removed, since all they signed has expired"),
    "denylist_entries": ("denylist_entries_expired", "Revocations dropped from this process's memory"),
}
"""By kind, as ``Authority.expired`` counts: name and help. What is not here, such as what was only looked at, is not shown."""


class FeedLag:
    """How long ago the store was last read to its end, from how often it was: exact to ``_LOOK_EVERY`` seconds.

    Args:
        denylist: What is read.
        monotonic: Seconds since whenever.
    """

    def __init__(self, denylist: Denylist, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._denylist = denylist
        self._monotonic = monotonic
        self._pulls = denylist.pulls
        self._seen_at = monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the last reading."""
        self.look()
        return self._monotonic() - self._seen_at

    def look(self) -> None:
        """Note whether it was read again. To be called all the time."""
        if self._denylist.pulls != self._pulls:
            self._pulls, self._seen_at = self._denylist.pulls, self._monotonic()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look all the time while the context lasts."""

        async def look_for_ever() -> None:
            while True:
                self.look()
                await asyncio.sleep(_LOOK_EVERY)

        task = asyncio.create_task(look_for_ever(), name="mintmark metrics")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})


class Metrics(Collector):
    """What there is to say about one process.

    Args:
        authority: Whose numbers they are.
        lag: Of its feed.
    """

    def __init__(self, authority: Authority, lag: FeedLag) -> None:
        self._authority = authority
        self._lag = lag
        self._behind: int | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: no name is to be checked against those of others."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield everything but what the library knows by itself about the process."""
        authority = self._authority
        yield from _build()
        yield from _requests(authority.meter)
        yield from _verdicts(authority.meter)
        yield from _feed(authority, self._lag.seconds, self._behind)
        yield from _keys(authority)
        yield from _pools(authority)
        yield from _store(authority.meter, is_up=self._behind is not None)
        yield from _shared(authority.shared)
        yield from _expired(authority.expired)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in a format that is accepted, and its content type."""
        self._behind = await self._entries_behind()
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is no number
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    async def _entries_behind(self) -> int | None:
        """Return how many revocations the store has that this node has not read; ``None`` if it does not answer."""
        last = self._authority.denylist.last
        try:
            async with asyncio.timeout(_PATIENCE):
                page = await self._authority.store.revocations.after(0 if last is None else last.cursor, _MAX_BEHIND)
        except (StoreUnavailableError, TimeoutError):
            return None
        return len(page)


def application(metrics: Metrics) -> ASGIApp:
    """Return what answers on the port of the metrics: to ``GET /metrics``, whoever asks."""

    async def answer(incoming: Incoming) -> Reply:
        if incoming.path != PATH:
            raise OAuthError("invalid_request", f"There is only {PATH}", status=404)
        content, content_type = await metrics.exposition(",".join(incoming.header(b"accept")))
        return Reply(200, content, ((b"content-type", content_type.encode()), (b"cache-control", b"no-store")))

    def render(error: OAuthError) -> Reply:
        return Reply(error.status, f"{error.description}\n".encode(), ((b"content-type", b"text/plain"),))

    return endpoint(answer, ("GET",), render, path=PATH)


def _build() -> Iterator[Metric]:
    build = GaugeMetricFamily("mintmark_build_info", "Always 1", labels=["version", "python"])
    build.add_metric([__version__, platform.python_version()], 1)
    yield build


def _requests(meter: Meter) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "mintmark_requests", "Requests answered, by error code of OAuth if any", labels=["endpoint", "status", "error"]
    )
    seconds = HistogramMetricFamily(
        "mintmark_request_duration_seconds",
        "Seconds until the answer was ready; of a stream, until it began",
        labels=["endpoint", "status"],
    )
    counts: Counter[tuple[str, str, str]] = Counter()
    sums: dict[tuple[str, str], Durations] = {}
    for (where, status, error), durations in meter.requests.items():
        kind = f"{status // 100}xx"
        counts[where, kind, error] += sum(durations.counts)
        together = sums.setdefault((where, kind), Durations())
        together.counts = [one + more for one, more in zip(together.counts, durations.counts, strict=True)]
        together.total += durations.total
    for labels, count in counts.items():
        requests.add_metric(labels, count)
    for named, durations in sums.items():
        seconds.add_metric(named, buckets=_buckets(durations), sum_value=durations.total)
    yield requests
    yield seconds


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Return how many took up to each bound."""
    so_far, buckets = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), durations.counts, strict=True):
        so_far += count
        buckets.append((bound, float(so_far)))
    return buckets


def _verdicts(meter: Meter) -> Iterator[Metric]:
    verdicts = CounterMetricFamily("mintmark_grant_steps", "Codes and refresh tokens answered", labels=["verdict"])
    for verdict in get_args(Verdict):
        verdicts.add_metric([verdict], meter.verdicts[verdict])
    yield verdicts
    misfits = CounterMetricFamily(
        "mintmark_reuse", "Codes and refresh tokens presented that were not the current ones", labels=["kind"]
    )
    for kind in get_args(Misfit):
        misfits.add_metric([kind], meter.misfits[kind])
    yield misfits


def _feed(authority: Authority, lag: float, behind: int | None) -> Iterator[Metric]:
    denylist = authority.denylist
    yield GaugeMetricFamily("mintmark_feed_readers", "Streams of the revocation feed open now", authority.meter.streams)
    yield GaugeMetricFamily(
        "mintmark_feed_lag_seconds", "Seconds since this node last knew all revocations of the database", lag
    )
    if behind is not None:
        yield GaugeMetricFamily(
            "mintmark_feed_entries_behind", "Revocations in the database that this node has not read", behind
        )
    yield GaugeMetricFamily("mintmark_denylist_entries", "Revocations that this node knows", len(denylist))
    yield GaugeMetricFamily(
        "mintmark_revocations_forgotten",
        "Revocations that the database lost and has not got back",
        len(denylist.forgotten),
    )
    yield CounterMetricFamily(
        "mintmark_revocations_reapplied", "Revocations that this node gave the database back", denylist.reapplied
    )


def _keys(authority: Authority) -> Iterator[Metric]:
    now, rows = authority.clock.now(), authority.keyring.rows
    shown = schedule.published(rows, now)
    ages = GaugeMetricFamily(
        "mintmark_key_age_seconds", "Seconds since a signing key was published", labels=["alg", "kid", "state"]
    )
    for key in shown:
        ages.add_metric([key.alg, key.kid, schedule.state(key, now)], now - key.published_at)
    yield ages
    signs = GaugeMetricFamily("mintmark_signing_key_active", "1 while there is a key that signs", labels=["alg"])
    due = GaugeMetricFamily(
        "mintmark_key_rotation_in_seconds", "Seconds until the published successor signs", labels=["alg"]
    )
    for alg in authority.policy.signing_algorithms:
        signs.add_metric([alg], schedule.active(rows, alg, now) is not None)
        waiting = [key.active_at for key in shown if key.alg == alg and schedule.state(key, now) == "published"]
        if waiting:
            due.add_metric([alg], min(waiting) - now)
    yield signs
    yield due


def _pools(authority: Authority) -> Iterator[Metric]:
    families = {
        "size": GaugeMetricFamily("mintmark_pool_size", "How much of something there is at most", labels=["pool"]),
        "busy": GaugeMetricFamily("mintmark_pool_in_use", "How much of it is in use", labels=["pool"]),
        "waiting": GaugeMetricFamily("mintmark_pool_waiting", "How many wait for it", labels=["pool"]),
    }
    owners = {"signing": authority.signer, "passwords": authority.passwords, "database": authority.store}
    for name, owner in owners.items():
        # SQLite has no connections to run out of.
        usage: dict[str, int] | None = getattr(owner, "usage", None)
        if usage is not None:
            for member, family in families.items():
                family.add_metric([name], usage[member])
    yield from families.values()


def _store(meter: Meter, *, is_up: bool) -> Iterator[Metric]:
    yield GaugeMetricFamily("mintmark_store_up", "1 if the database answered just now", is_up)
    yield CounterMetricFamily(
        "mintmark_store_unavailable", "Requests that the database did not let us answer", meter.store_unavailable
    )
    yield GaugeMetricFamily("mintmark_leader", "1 on the node that rotates keys and cleans up for all", meter.leads)


def _shared(shared: Shared | None) -> Iterator[Metric]:
    if shared is not None:
        yield GaugeMetricFamily(
            "mintmark_redis_up", "1 if Redis answered when it was last asked, and refused nothing lately", shared.is_up
        )
        yield CounterMetricFamily("mintmark_redis_failures", "Calls that Redis did not answer", shared.failures)


def _expired(expired: Counter[str]) -> Iterator[Metric]:
    for kind, (name, text) in _EXPIRED.items():
        yield CounterMetricFamily(f"mintmark_{name}", text, expired[kind])
