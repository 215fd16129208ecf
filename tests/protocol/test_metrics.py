"""What is counted while requests are answered, and what is said of it (docs/metrics.md)."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.protocol.answers import assert_tokens
from tests.support.failing import FailingStore
from tests.support.feed import Reader, TroubledStore
from tests.support.installation import PREFIX, Installation, install
from tests.support.metrics import Shown, read_metrics

from mintmark import bootstrap
from mintmark.authority import derivation
from mintmark.authority.core import Authority
from mintmark.authority.keyring import rotate
from mintmark.authority.ports import StoreUnavailableError
from mintmark.storage.memory import MemoryStore
from mintmark.storage.postgresql import PostgreSQLStore
from mintmark.storage.remembered import RememberingStore
from mintmark.system.metrics import FeedLag, Metrics, application
from mintmark.system.signing import PoolSigner

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
TOKEN = f"{PREFIX}/token"


async def test_requests_by_endpoint_and_outcome(mint: Installation) -> None:
    await mint.obtain()
    await mint.post("/token", "service", grant_type="client_credentials")
    await mint.post("/token", "web", grant_type="refresh_token", refresh_token="none")
    async with mint.http() as http:
        await http.get("/.well-known/jwks.json")
        await http.get("/login")
        await http.get("/no/such/page")
        await http.get(f"{PREFIX}/nothing")
        await http.get(TOKEN)
        await http.options(TOKEN)
    shown = await read_metrics(mint.authority)
    assert shown.all("requests_total") == {
        ("/.well-known/jwks.json", "", "2xx"): 1,
        ("/login", "", "2xx"): 1,
        ("(unknown)", "invalid_request", "4xx"): 2,
        (TOKEN, "", "2xx"): 3,
        (TOKEN, "invalid_grant", "4xx"): 1,
        (TOKEN, "invalid_request", "4xx"): 1,
    }
    assert shown("request_duration_seconds_count", endpoint=TOKEN, status="2xx") == 3
    assert shown("request_duration_seconds_count", endpoint=TOKEN, status="4xx") == 2
    assert shown("request_duration_seconds_bucket", endpoint=TOKEN, status="2xx", le="10.0") == 3
    assert 0 < (shown("request_duration_seconds_sum", endpoint=TOKEN, status="2xx") or 0) < 10


async def test_what_clients_send_never_makes_a_series(mint: Installation) -> None:
    """However many paths, clients, grant types and methods are tried, the metrics stay as short as they are."""
    async with mint.http() as http:

        async def knock(number: int) -> None:
            await http.get(f"/path{number}")
            await http.get(f"{PREFIX}/path{number}")
            await http.request(f"METHOD{number}", TOKEN)
            form = {"client_id": f"client{number}", "client_secret": "x", "grant_type": f"type{number}"}
            await http.post(TOKEN, data=form)
            await http.get(f"/login?return_to={number}", headers={"x-request-id": f"id{number}"})

        await knock(0)
        before = await read_metrics(mint.authority)
        for number in range(1, 30):
            await knock(number)
    after = await read_metrics(mint.authority)
    # Those that began to be refused for a while, since they guess.
    new = re.sub(r".*temporarily_unavailable.*|.*5xx.*", "", after.text).split("\n")
    assert len([line for line in new if line]) == len([line for line in before.text.split("\n") if line])


async def test_what_became_of_codes_and_refresh_tokens(mint: Installation) -> None:
    code = await mint.grant()
    first = assert_tokens(await mint.redeem(code))["refresh_token"]
    second = assert_tokens(await mint.refresh(first))["refresh_token"]
    assert_tokens(await mint.refresh(first))
    await mint.refresh(second, "spa")
    await mint.refresh("mmr_nonsense")
    await mint.refresh(second[:-6] + "AAAAAA")
    third = assert_tokens(await mint.refresh(second))["refresh_token"]
    assert_tokens(await mint.refresh(third))
    await mint.refresh(first)
    await mint.redeem(code)  # the grant has ended by now: refused, not reused
    other = await mint.grant()
    assert_tokens(await mint.redeem(other))
    await mint.redeem(other)
    shown = await read_metrics(mint.authority)
    assert shown.all("grant_steps_total") == {("redeemed",): 2, ("rotated",): 3, ("replayed",): 1}
    assert shown.all("reuse_total") == {
        ("lost_response",): 1,
        ("foreign_client",): 1,
        ("garbage",): 2,
        ("stale",): 1,
        ("code",): 1,
    }
    assert shown("grant_steps_total", verdict="kept") == 0


@pytest.mark.spec("invariant I11")
async def test_a_row_that_went_back_is_counted(mint: Installation) -> None:
    token = (await mint.obtain())["refresh_token"]
    store: Any = mint.authority.store
    copy = store.snapshot()
    ahead = assert_tokens(await mint.refresh(token))["refresh_token"]
    store.restore(copy)
    assert_tokens(await mint.refresh(ahead))
    assert (await read_metrics(mint.authority)).all("grant_steps_total")[("fast_forwarded",)] == 1


async def test_two_at_a_time_are_a_race() -> None:
    """Both read the same row; the one whose step is not taken gets the answer of the other."""
    store = TroubledStore(MemoryStore())
    mint = await install(store=store.as_store())
    token = (await mint.obtain())["refresh_token"]
    inner, waiting = store._store.grants, asyncio.Event()

    async def both_have_read() -> Any:
        parsed = derivation.parse(token, "refresh")
        assert parsed is not None
        row = await inner.get(parsed.grant_id)
        if waiting.is_set():
            store.troubles.clear()
        else:
            waiting.set()
            await asyncio.sleep(0.05)
        return row

    store.troubles["grants.get"] = both_have_read
    answers = await asyncio.gather(mint.refresh(token), mint.refresh(token))
    assert len({assert_tokens(answer)["refresh_token"] for answer in answers}) == 1
    shown = await read_metrics(mint.authority)
    assert shown.all("reuse_total") == {("race",): 1}
    assert shown.all("grant_steps_total") == {("redeemed",): 1, ("rotated",): 1, ("replayed",): 1}


async def test_what_is_not_committed_is_no_step() -> None:
    failing = FailingStore(MemoryStore())
    mint = await install(store=failing.as_store())
    token = (await mint.obtain())["refresh_token"]
    failing.watch()
    assert_tokens(await mint.refresh(token))
    failing.watch(failing.calls.index("grants.advance"))
    assert (await mint.refresh(token)).status_code == 503
    shown = await read_metrics(mint.authority)
    assert shown("grant_steps_total", verdict="replayed") == 0
    assert shown("store_unavailable_total") == 1
    assert shown.all("requests_total")[(TOKEN, "temporarily_unavailable", "5xx")] == 1


async def test_the_feed(mint: Installation) -> None:
    tokens = await mint.obtain()
    app = bootstrap.application(mint.authority)
    pair = httpx.BasicAuth("service", mint.secrets["service"])._auth_header
    headers = ((b"authorization", pair.encode()), (b"accept", b"text/event-stream"))
    assert (await read_metrics(mint.authority))("feed_readers") == 0
    async with Reader(app, headers=headers), Reader(app, headers=headers):
        assert (await read_metrics(mint.authority))("feed_readers") == 2
    shown = await read_metrics(mint.authority)
    assert shown("feed_readers") == 0
    assert shown("denylist_entries") == 0
    await mint.post("/revoke", "web", token=tokens["access_token"])
    assert (await read_metrics(mint.authority))("denylist_entries") == 1
    # Revoked by another node: this one has not read it yet.
    other = await mint.node()
    other_tokens = await other.obtain()
    await other.post("/revoke", "web", token=other_tokens["access_token"])
    assert (await read_metrics(mint.authority))("feed_entries_behind") == 1
    await mint.authority.denylist.pull(mint.authority.store)
    shown = await read_metrics(mint.authority)
    assert (shown("feed_entries_behind"), shown("denylist_entries")) == (0, 2)


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.spec("invariant I6")
async def test_the_lag_of_the_feed_grows_while_the_store_is_not_read(mint: Installation) -> None:
    seconds, authority = Seconds(), mint.authority
    lag = FeedLag(authority.denylist, seconds)
    seconds.now += 3
    assert lag.seconds == 3
    await authority.denylist.pull(authority.store)
    assert lag.seconds == 0
    seconds.now += 2
    async with lag.watched():
        await authority.denylist.pull(authority.store)
        await asyncio.sleep(0)
        seconds.now += 7
        assert (await read_metrics(authority, lag))("feed_lag_seconds") == 7


async def test_keys(mint: Installation) -> None:
    shown = await read_metrics(mint.authority)
    active: dict[str, str] = {}
    for row in mint.authority.keyring.rows:
        state = "active" if row.active_at <= mint.clock.now() else "published"
        active |= {row.alg: row.kid} if state == "active" else {}
        assert shown("key_age_seconds", alg=row.alg, kid=row.kid, state=state) == 0
    interval = mint.authority.policy.key_rotation_interval
    assert shown.all("key_rotation_in_seconds") == {("RS256",): interval, ("ES256",): interval}
    assert shown.all("signing_key_active") == {("RS256",): 1, ("ES256",): 1}
    await rotate(mint.authority.keyring, mint.authority.store, mint.clock, "ES256")
    mint.clock.advance(mint.authority.policy.jwks_lifetime)
    await mint.authority.keyring.refresh(mint.authority.store)
    shown = await read_metrics(mint.authority)
    assert shown("key_age_seconds", alg="ES256", kid=active["ES256"], state="retired") == 300
    rows = mint.authority.keyring.rows
    mint.authority.keyring.rows = tuple(row for row in rows if row.alg != "RS256")
    shown = await read_metrics(mint.authority)
    assert shown("signing_key_active", alg="RS256") == 0
    assert shown("key_rotation_in_seconds", alg="RS256") is None


class BusyStore(MemoryStore):
    """As busy as a store on PostgreSQL can be."""

    usage: Final = {"busy": 10, "idle": 0, "size": 10, "waiting": 3}


async def test_pools(mint: Installation) -> None:
    shown = await read_metrics(replace(mint.authority, signer=PoolSigner(3, cores=2)))
    assert shown.all("pool_size") == {("signing",): 3, ("passwords",): 2}
    assert shown("pool_in_use", pool="passwords") == 0
    busy: Authority = replace(mint.authority, store=RememberingStore(BusyStore(), mint.clock))
    shown = await read_metrics(busy)
    assert [shown(f"pool_{what}", pool="database") for what in ("size", "in_use", "waiting")] == [10, 10, 3]


@pytest.mark.slow
async def test_connections_to_postgresql(postgresql_url: str) -> None:
    store = await PostgreSQLStore.open(postgresql_url, connections=3)
    try:
        mint = await install(store=store)
        shown = await read_metrics(replace(mint.authority, store=RememberingStore(store, mint.clock)))
    finally:
        await store.close()
    assert shown("pool_size", pool="database") == 3
    assert shown("pool_waiting", pool="database") == 0
    assert shown("store_up") == 1


class Away:
    is_up, failures = False, 4

    async def check(self) -> None:
        raise AssertionError("nobody asks Redis because somebody asks for metrics")


async def test_redis_where_there_is_one(mint: Installation) -> None:
    assert "redis" not in (await read_metrics(mint.authority)).text
    shown = await read_metrics(replace(mint.authority, shared=Away()))
    assert (shown("redis_up"), shown("redis_failures_total")) == (0, 4)


async def test_what_expired_and_who_leads(mint: Installation) -> None:
    await mint.obtain()
    mint.clock.advance(400 * 86_400)
    await mint.authority.upkeep(100)
    mint.authority.meter.leads = True
    shown = await read_metrics(mint.authority)
    assert shown("grants_expired_total") == 1
    assert shown("sessions_expired_total") == 1
    assert shown("leader") == 1


async def test_a_store_that_is_away_or_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metrics come all the same, and soon: that is when they are needed."""
    store = TroubledStore(MemoryStore())
    mint = await install(store=store.as_store())
    assert (await read_metrics(mint.authority))("store_up") == 1

    async def away() -> None:
        raise StoreUnavailableError("away")

    async def hang() -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr("mintmark.system.metrics._PATIENCE", 0.01)
    for trouble in (away, hang):
        store.troubles["revocations.after"] = trouble
        shown = await read_metrics(mint.authority)
        assert (shown("store_up"), shown("feed_entries_behind")) == (0, None)


async def test_only_metrics_are_there(mint: Installation) -> None:
    """Nothing else answers on that port, and the metrics do not answer on the other one."""
    app = application(Metrics(mint.authority, FeedLag(mint.authority.denylist)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://metrics.example") as http:
        assert (await http.get("/metrics")).headers["content-type"].startswith("text/plain; version=")
        openmetrics = await http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
        assert openmetrics.text.endswith("# EOF\n")
        for version in ("x", "1.x", "", "1.0.0, text/plain;version=y"):
            other = await http.get("/metrics", headers={"accept": f"application/openmetrics-text;version={version}"})
            assert other.status_code == 200, version
        assert [(await http.get(path)).status_code for path in ("/", "/readyz", TOKEN)] == [404] * 3
        assert (await http.post("/metrics")).status_code == 405
    async with mint.http() as public:
        assert (await public.get("/metrics")).status_code == 404


async def test_the_document_names_every_metric(mint: Installation) -> None:
    await mint.obtain()
    shown = await read_metrics(replace(mint.authority, shared=Away()))
    documented = dict(re.findall(r"^\| `(mintmark_\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE))
    assert {name: kind for name, kind in shown.families.items() if name.startswith("mintmark_")} == documented
    named = set(re.findall(r"mintmark_\w+", DOCUMENT.read_text()))
    assert named == set(documented)


def test_the_reading_itself_is_strict() -> None:
    with pytest.raises(AssertionError, match="twice"):
        Shown("a 1\na 2\n")
    assert Shown("mintmark_a 1\n")("a") == 1
