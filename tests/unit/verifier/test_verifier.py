"""The verifier as services see it: many at once, what it tells, its life."""

import asyncio
import gc
import logging
import re
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.support.issuers import API, CLIENT_ID, CLIENT_SECRET, Authority, Network, key, verifier
from tests.support.verifying import ISSUER, FakeClock
from tests.unit.verifier.verifier_things import MANY, outcome, outcome_of

from mintmark.jose import base64url, jwk, strict_json
from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable
from mintmark.verifier.credentials import basic_authorization
from mintmark.verifier.http import HTTPTransport
from mintmark.verifier.ports import Response, TransportError


class Gate:
    """Holds the network until enough requests have piled up."""

    def __init__(self, network: Network) -> None:
        self.opened = network.gate = threading.Event()


def all_at_once(calls: list[Callable[[], str]], gate: threading.Event | None = None) -> Counter[str]:
    """Make the calls on as many threads; the gate opens once all of them are under way."""
    found: list[str] = []
    barrier = threading.Barrier(len(calls) + 1)

    def work(call: Callable[[], str]) -> None:
        barrier.wait(60)
        found.append(call())

    size = threading.stack_size(256 * 1024)
    try:
        workers = [threading.Thread(target=work, args=(call,)) for call in calls]
        for worker in workers:
            worker.start()
    finally:
        threading.stack_size(size)
    barrier.wait(60)
    if gate is not None:
        gate.set()
    for worker in workers:
        worker.join(60)
    return Counter(found)


@pytest.mark.slow
@pytest.mark.spec("S05")
def test_a_thousand_first_requests_are_one_fetch(authority: Authority, network: Network) -> None:
    authority.feed.is_live = True
    raws = [authority.token() for _ in range(MANY)]
    gate = Gate(network)
    with verifier(authority, is_ready=False) as made:
        ended = all_at_once([partial(outcome, partial(made.verify, raw)) for raw in raws], gate.opened)
        assert ended == {"accepted": MANY}
        assert network.count(authority.metadata_url) == 1
        assert network.count(authority.jwks_url) == 1
        assert len(authority.feed.connections) == 1


@pytest.mark.spec("S05")
async def test_a_thousand_first_tasks_are_one_fetch_and_block_nobody(authority: Authority, network: Network) -> None:
    authority.feed.is_live = True
    raws = [authority.token() for _ in range(MANY)]
    gate = Gate(network)
    with verifier(authority, is_ready=False) as made:
        tasks = [asyncio.create_task(outcome_of(made, raw)) for raw in raws]
        # The loop turns while all of them wait.
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        gate.opened.set()
        assert Counter(await asyncio.gather(*tasks)) == {"accepted": MANY}
        assert network.count(authority.metadata_url) == 1
        assert network.count(authority.jwks_url) == 1
        assert len(authority.feed.connections) == 1


async def test_waiting_for_introspection_blocks_nobody(authority: Authority, network: Network) -> None:
    made = verifier(authority)
    raw = authority.opaque("opaque-token")
    gate = Gate(network)
    task = asyncio.create_task(made.averify(raw))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    good = await made.averify(authority.token())
    assert not task.done()
    gate.opened.set()
    assert (await task).sub == good.sub


async def test_what_is_in_memory_takes_no_thread(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    made = verifier(authority)
    raw = authority.token()
    monkeypatch.setattr(asyncio, "to_thread", None)
    first = await made.averify(raw)
    assert await made.averify(raw) is first
    assert await outcome_of(made, authority.token(exp=1)) == "expired"


@pytest.mark.spec("S05", "invariant I4")
def test_an_authority_that_is_down_at_the_start_is_not_asked_by_every_request(
    authority: Authority, network: Network
) -> None:
    network.is_down = True
    raw = authority.token()
    gate = Gate(network)
    with verifier(authority, is_ready=False) as made:
        ended = all_at_once([partial(outcome, partial(made.verify, raw))] * 300, gate.opened)
        for _ in range(MANY):
            ended[outcome(lambda: made.verify(raw))] += 1
        assert ended == {"unavailable": MANY + 300}
        assert len(network.asked) == 1
        network.is_down = False
        authority.feed.is_live = True
        authority.clock.advance(2)
        assert outcome(lambda: made.verify(raw)) == "accepted"


@pytest.mark.spec("S05", "invariant I4")
async def test_tasks_do_not_queue_up_for_an_authority_that_is_down(authority: Authority, network: Network) -> None:
    network.is_down = True
    gate = Gate(network)
    with verifier(authority, is_ready=False) as made:
        tasks = [asyncio.create_task(outcome_of(made, authority.token())) for _ in range(300)]
        for _ in range(10):
            await asyncio.sleep(0)
        gate.opened.set()
        assert Counter(await asyncio.gather(*tasks)) == {"unavailable": 300}
        assert len(network.asked) == 1


@pytest.mark.spec("S05", "J04")
def test_ten_thousand_random_kids_are_a_handful_of_fetches(authority: Authority, network: Network) -> None:
    made = verifier(authority)
    seconds = 60
    before = network.count(authority.jwks_url)
    header = authority.token(jwk.generate("ES256", kid="k" * 10)).split(".")
    for number in range(10_000):
        raw = ".".join([_with_kid(f"random-{number}"), *header[1:]])
        assert outcome(partial(made.verify, raw)) == "unknown_key"
        authority.clock.advance(seconds / 10_000)
    assert 1 <= network.count(authority.jwks_url) - before <= seconds / 5 + 1
    # And those who send no garbage are served meanwhile.
    assert outcome(lambda: made.verify(authority.token())) == "accepted"


def _with_kid(kid: str) -> str:
    return base64url.encode(strict_json.dumps({"alg": "ES256", "kid": kid, "typ": "at+jwt"}))


@pytest.mark.spec("S05", "K02")
def test_a_new_key_is_found_by_the_first_token_it_signs(authority: Authority, network: Network) -> None:
    made = verifier(authority)
    authority.clock.advance(6)
    authority.keys.insert(0, key("next"))
    raws = [authority.token() for _ in range(100)]
    gate = Gate(network)
    ended = all_at_once([partial(outcome, partial(made.verify, raw)) for raw in raws], gate.opened)
    assert ended == {"accepted": 100}
    assert network.count(authority.jwks_url) == 2


async def test_a_task_finds_a_new_key_as_well(authority: Authority) -> None:
    made = verifier(authority)
    authority.clock.advance(6)
    authority.keys.insert(0, key("next"))
    assert await outcome_of(made, authority.token()) == "accepted"


def test_a_machine_that_slept_while_looking_for_a_key_rejects_the_token(authority: Authority) -> None:
    made = verifier(authority)
    authority.clock.advance(6)

    def sleep(_: Any) -> Response:
        # Ten seconds later another attempt would be due at once.
        raise TransportError("no answer in time")

    authority.network.answers[authority.jwks_url] = sleep
    source = next(iter(made._sources.values()))
    find = source.keys.find

    def slept(kid: str) -> None:
        find(kid)
        authority.clock.advance(10)

    source.keys.find = slept  # type: ignore[method-assign]
    assert outcome(lambda: made.verify(authority.token(key("next")))) == "unknown_key"


@pytest.mark.spec("invariant I4", "S05")
def test_in_an_outage_an_unknown_key_is_none_only_while_there_can_be_no_new_one(authority: Authority) -> None:
    """The issuer publishes a key before it signs with it; once what is known is too old for that, nobody can say."""

    def away(_: Any) -> Response:
        raise TransportError("no answer")

    made = verifier(authority, is_client=False)
    assert outcome(lambda: made.verify(authority.token())) == "accepted"
    authority.network.answers[authority.jwks_url] = away
    authority.clock.advance(200)
    assert outcome(lambda: made.verify(authority.token(key("next")))) == "unknown_key"
    authority.clock.advance(3600)
    assert outcome(lambda: made.verify(authority.token(key("next")))) == "unavailable"
    assert outcome(lambda: made.verify(authority.token())) == "accepted"


# --- what it tells


def test_metrics_count_what_happens(authority: Authority) -> None:
    made = verifier(authority)

    def value(name: str, label: str = "") -> float:
        return made.metrics()[f"mintmark_verifier_{name}{label}"]

    issuer = f'{{issuer="{authority.url}"}}'
    raw = authority.token()
    made.verify(raw)
    assert value("verifications_total") == 1
    assert value("results") == 1
    for _ in range(3):
        outcome(lambda: made.verify(authority.token(exp=1)))
    outcome(lambda: made.verify(authority.token(aud="x")))
    assert value("rejections_total", '{code="expired"}') == 3
    assert value("rejections_total", '{code="wrong_audience"}') == 1
    assert value("rejections_total", '{code="revoked"}') == 0
    assert value("unavailable_total") == 0
    assert value("verifications_total") == 5
    authority.revoke(jti="x")
    made.catch_up()
    assert value("revocations", issuer) == 1
    assert value("feed_entries_total", issuer) == 1
    assert value("keys", issuer) == 1
    assert value("key_fetches_total", issuer) == 1
    assert value("introspections_total", issuer) == 0
    outcome(lambda: made.verify("opaque"))
    assert value("introspections_total", issuer) == 1
    authority.clock.advance(15)
    outcome(lambda: made.verify(raw, on_stale="deny"))
    assert value("unavailable_total") == 1
    assert value("feed_stale", issuer) == 1


async def test_rejections_of_tasks_count_as_well(authority: Authority) -> None:
    made = verifier(authority)
    assert await outcome_of(made, authority.token(exp=1)) == "expired"
    assert made.metrics()['mintmark_verifier_rejections_total{code="expired"}'] == 1


def test_metrics_are_as_prometheus_writes_them(authority: Authority) -> None:
    other = Authority(authority.network, authority.clock, "https://other.example/tenant")
    lines = [f"{name} {value}" for name, value in verifier(authority, other).metrics().items()]
    form = re.compile(r'mintmark_verifier_[a-z_]+(\{[a-z]+="[^"\\\n]*"\})? [0-9.]+')
    assert [line for line in lines if not form.fullmatch(line)] == []
    assert sum('issuer="https://other.example/tenant"' in line for line in lines) > 5


@pytest.mark.spec("S07", "invariant I8")
@pytest.mark.parametrize("trouble", ["none", "down", "nonsense", "refused"])
def test_no_secret_and_no_token_gets_out(
    authority: Authority, caplog: pytest.LogCaptureFixture, trouble: str, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    made = verifier(authority, introspect="always", on_stale="introspect")
    stranger = jwk.generate("ES256", kid=authority.keys[0].kid)
    private = "very-private-jti"
    raws = [
        authority.token(jti=private, exp=1),
        authority.token(jti=private, aud="x"),
        authority.token(jti=private, iss="https://evil.example"),
        authority.token(stranger, jti=private),
        authority.token(jwk.generate("ES256", kid="unknown"), jti=private),
        authority.token(jti=private, sub=""),
        authority.token(jti=private) + "x",
        authority.token(jti=private).replace(".", ".\u00e9", 1),
        authority.token(jti=private),
        "opaque-private-token",
    ]
    authority.clock.advance(20)
    nonsense = Response(200, {}, b"<html>" + private.encode())
    if trouble == "down":
        authority.network.is_down = True
    elif trouble != "none":
        wrong = nonsense if trouble == "nonsense" else Response(401, {}, private.encode())
        for url in (authority.introspection_url, authority.jwks_url, authority.metadata_url):
            authority.network.answers[url] = wrong
    shown = [repr(made), repr(authority.issuer()), str(made.metrics())]
    for raw in raws:
        with pytest.raises((TokenRejected, VerifierUnavailable)) as caught:
            made.verify(raw)
        problem: BaseException | None = caught.value
        while problem is not None:
            shown += [str(problem), repr(problem), repr(problem.args), repr(vars(problem))]
            problem = problem.__cause__ or problem.__context__
    made.catch_up()
    made.close()
    shown += [caplog.text, *capfd.readouterr()]
    text = "\n".join(shown)
    for secret in (CLIENT_SECRET, basic_authorization(CLIENT_ID, CLIENT_SECRET).split()[1], private, "opaque-private"):
        assert secret not in text
    for raw in raws:
        for part in raw.split(".")[1:]:
            assert part not in text


@pytest.mark.spec("S07")
def test_descriptions_are_constant(authority: Authority) -> None:
    made = verifier(authority)
    said = set()
    for raw in ("x.y.z", authority.token(exp=1), authority.token(aud="x"), "opaque"):
        with pytest.raises(TokenRejected) as caught:
            made.verify(raw)
        said.add((caught.value.status, caught.value.error, caught.value.description))
    assert len(said) == 1


# --- its life


def test_it_is_a_context_manager(authority: Authority) -> None:
    before = set(threading.enumerate())
    authority.feed.is_live = True
    with verifier(authority, is_ready=False) as made:
        made.verify(authority.token())
        running = set(threading.enumerate()) - before
        assert len(running) == 2
    for thread in running:
        thread.join(5)
    assert not any(thread.is_alive() for thread in running)


def test_one_clock_for_everything(authority: Authority, clock: FakeClock) -> None:
    made = verifier(authority)
    token = made.verify(authority.token(auth_time=clock.now()))
    clock.advance(61)
    assert token._clock is clock
    with pytest.raises(Exception, match="sign-in"):
        token.require(max_age=60)


def test_its_own_connections_end_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[HTTPTransport] = []

    def close(transport: HTTPTransport) -> None:
        closed.append(transport)

    monkeypatch.setattr(HTTPTransport, "close", close)
    made, theirs = Verifier(ISSUER, API), HTTPTransport()
    made.close()
    assert closed == [made._own_transport]
    Verifier(ISSUER, API, transport=theirs).close()
    gc.collect()
    assert theirs not in closed


def test_what_nobody_holds_is_gone(authority: Authority) -> None:
    made = verifier(authority)
    made.verify(authority.token())
    remains: list[weakref.ref[Any]] = [weakref.ref(made), *map(weakref.ref, made._sources.values())]
    made.close()
    del made
    gc.collect()
    assert [one() for one in remains] == [None, None]
