"""nginx and HAProxy in front of two nodes, each with its file under ``deploy/authority/``."""

import asyncio
import contextlib
import http.client
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.e2e.test_feed import Reader, basic
from tests.support.feed import PATH as FEED
from tests.support.fronts import ISSUER, Cluster, Front, Got, front
from tests.support.installation import Installation, authorize_url, install
from tests.support.world import FixedClock

from mintmark.authority.policy import Policy
from mintmark.storage.sqlite import SQLiteStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KINDS = ("nginx", "haproxy")
TOKEN = "/api/v2/auth/token"
CLIENTS = 4
STEP = 30
"""Refreshes between one event and the next."""
RETRY_AFTER = 1
"""Seconds, as the fronts say when a node has not answered."""
SETTLE = 6
"""Seconds until nginx asks a node again that had not answered (``fail_timeout``): before that, the other must not go."""
PASSWORDS, SECRETS = 20, 60
"""More guesses than both nodes together let through: without Redis each counts for itself."""
FORGED: tuple[dict[str, str], ...] = (
    {},
    {"X-Forwarded-For": "198.51.100.{n}"},
    {"X-Forwarded-For": "198.51.100.{n}, 127.0.0.1"},
    {"Forwarded": "for=198.51.100.{n}"},
    {"X-Forwarded-For": "198.51.100.{n}", "Forwarded": 'for="'},
    {"X-Real-IP": "198.51.100.{n}", "Connection": "X-Forwarded-For"},
)


@dataclass(frozen=True)
class Place:
    """An authority with two nodes, and a front."""

    mint: Installation
    cluster: Cluster
    front: Front
    tokens: list[str]
    """One refresh token of each grant, always the current one."""

    def source(self, number: int) -> str:
        """Return an address of loopback that nobody else has."""
        return f"127.0.{KINDS.index(self.front.kind) + 1}.{number}"

    def post(self, path: str, client_id: str, *, source: str = "127.0.0.1", **form: str) -> Got:
        """Send a form as a client."""
        return self.front.ask("POST", path, form=self.mint.credentials(client_id) | form, source=source)

    def refresh(self, refresh_token: str) -> Got:
        """Refresh, as the web client."""
        return self.post(TOKEN, "web", grant_type="refresh_token", refresh_token=refresh_token)


async def _settle(folder: Path) -> tuple[Installation, list[str]]:
    """Found an authority on a new database, and sign people in."""
    now = int(time.time())  # noqa: TID251 - the nodes look at the real time
    store = SQLiteStore.open(folder / "mintmark.sqlite3", now=now)
    try:
        mint = await install(store=store, clock=FixedClock(now), policy=Policy(issuer=ISSUER))
        return mint, [(await mint.obtain())["refresh_token"] for _ in range(CLIENTS)]
    finally:
        await store.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Installation, list[str]]]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "mintmark.key").write_text(bytes(32).hex())
    (folder / "mintmark.key").chmod(0o600)
    mint, tokens = asyncio.run(_settle(folder))
    settings = {"database": str(folder / "mintmark.sqlite3"), "master_key_file": str(folder / "mintmark.key")}
    with Cluster(folder, settings) as nodes:
        yield nodes, mint, tokens


@pytest.fixture(scope="module", params=KINDS)
def place(
    request: pytest.FixtureRequest,
    cluster: tuple[Cluster, Installation, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    nodes, mint, tokens = cluster
    with front(request.param, tmp_path_factory.mktemp(request.param), nodes.ports) as proxy:
        yield Place(mint, nodes, proxy, tokens)


def sign_in(place: Place, headers: dict[str, str], *, source: str) -> int:
    """Guess a password in the page; return the status."""
    page = place.front.ask("GET", "/login", source=source)
    cookie = page.cookies[0].partition(";")[0]
    token = re.search(rb'name="form_token" value="([^"]+)"', page.body)
    assert token is not None, page
    form = {"form_token": token[1].decode(), "email": "ada@example.com", "password": "wrong"}
    return place.front.ask("POST", "/login", {"cookie": cookie, **headers}, form, source=source).status


def numbered(headers: dict[str, str], number: int) -> dict[str, str]:
    return {name: value.format(n=number) for name, value in headers.items()}


@pytest.mark.spec("OWASP ASVS 6.3.1")
def test_guesses_are_counted_by_the_real_client_whatever_it_says_of_itself(place: Place) -> None:
    assert 429 in [sign_in(place, {}, source=place.source(2)) for _ in range(PASSWORDS)]
    # Saying that one is somebody else each time does not help, and whoever really is somebody else is not slowed down.
    forging = [sign_in(place, numbered(FORGED[n % len(FORGED)], n), source=place.source(3)) for n in range(PASSWORDS)]
    assert forging[0] == 400
    assert 429 in forging
    assert sign_in(place, {}, source=place.source(4)) == 400


def test_wrong_secrets_are_counted_by_the_real_client(place: Place) -> None:
    def present(headers: dict[str, str], source: str) -> int:
        form = {"grant_type": "client_credentials", "client_id": "service", "client_secret": "wrong"}
        return place.front.ask("POST", TOKEN, headers, form, source=source).status

    statuses = [present(numbered(FORGED[n % len(FORGED)], n), place.source(2)) for n in range(SECRETS)]
    assert statuses[0] == 401
    assert 429 in statuses
    assert present({}, place.source(3)) == 401


APPENDING = {
    "nginx": {"X-Forwarded-For $remote_addr;": "X-Forwarded-For $proxy_add_x_forwarded_for;"},
    "haproxy": {"http-request set-header X-Forwarded-For %[src]": "option forwardfor"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_front_that_appends_the_client_is_who_the_front_saw(
    kind: str, cluster: tuple[Cluster, Installation, list[str]], tmp_path: Path
) -> None:
    """nginx appends to the line, HAProxy adds a line of its own."""
    source = {"nginx": "127.0.3.1", "haproxy": "127.0.4.1"}[kind]
    with front(kind, tmp_path, cluster[0].ports, APPENDING[kind]) as proxy:

        def present(forged: str, source: str) -> int:
            form = {"grant_type": "client_credentials", "client_id": "service", "client_secret": "wrong"}
            return proxy.ask("POST", TOKEN, {"X-Forwarded-For": forged}, form, source=source).status

        assert 429 in [present(f"198.51.100.{n}", source) for n in range(SECRETS)]
        assert present(source, "127.0.5.1") == 401


@pytest.mark.spec("RFC 9110 §6.5.1")
def test_nobody_says_in_a_trailer_who_they_are(place: Place) -> None:
    """HAProxy guards the head, and hands trailers on."""

    def present(number: int, source: str) -> int:
        body = b"grant_type=client_credentials&client_id=service&client_secret=wrong"
        claims = f"X-Forwarded-For: 198.51.100.{number}\r\nForwarded: for=198.51.100.{number}\r\n"
        with contextlib.closing(place.front.connection(source)) as connection:
            connection.putrequest("POST", TOKEN)
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, claims.encode()))
            return connection.getresponse().status

    statuses = [present(number, place.source(6)) for number in range(SECRETS)]
    assert statuses[0] == 401
    assert 429 in statuses
    assert present(0, place.source(7)) == 401


def test_a_node_believes_nobody_but_the_front(place: Place) -> None:
    """Whoever reaches a node itself is who they are, though they say what a front would say."""

    def present(number: int, source: str) -> int:
        address, node = ("127.0.0.1", place.cluster.ports[0]), http.client.HTTPConnection("127.0.0.1")
        with socket.create_connection(address, 10, source_address=(source, 0)) as node.sock:
            body = "grant_type=client_credentials&client_id=service&client_secret=wrong"
            headers = {"content-type": "application/x-www-form-urlencoded", "X-Forwarded-For": f"203.0.113.{number}"}
            node.request("POST", TOKEN, body, headers)
            return node.getresponse().status

    assert {present(number, "127.0.0.1") for number in range(SECRETS)} == {401}
    assert 429 in {present(number, place.source(5)) for number in range(SECRETS)}


def test_scheme_and_host_are_the_issuers(place: Place) -> None:
    forged = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    metadata = "/.well-known/openid-configuration"
    plain, asked = place.front.ask("GET", metadata), place.front.ask("GET", metadata, forged)
    assert plain.json["issuer"] == ISSUER
    assert (asked.status, asked.json) == (200, plain.json)
    assert place.front.ask("GET", "/account", forged).headers["location"] == "/login"


def test_what_is_for_operators_stays_inside(place: Place) -> None:
    # Nodes decode paths; so must whoever guards them.
    for path in ("/livez", "/readyz", "/metrics", "/re%61dyz", "/%6Civez", "/readyz?x", "/%72%65%61%64%79%7a"):
        assert place.front.ask("GET", path).status == 404
    node = http.client.HTTPConnection("127.0.0.1", place.cluster.ports[0], timeout=10)
    with contextlib.closing(node):
        node.request("GET", "/readyz")
        assert node.getresponse().status == 200


def test_as_long_a_query_as_a_node_takes(place: Place) -> None:
    state = "s" * 14_000
    answered = place.front.ask("GET", authorize_url(state=state))
    assert answered.status == 303
    assert state in answered.headers["location"]


def test_a_request_has_one_id_from_the_front_to_the_answer(place: Place) -> None:
    known = place.front.ask("GET", "/.well-known/jwks.json", {"X-Request-Id": "mine"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f-]{32,36}", known)


@pytest.mark.spec("invariant I8")
def test_the_log_of_the_front_has_no_query(place: Place) -> None:
    place.front.ask("GET", "/login?login_hint=secret", {"Referer": f"{ISSUER}/logout?id_token_hint=secret"})
    place.front.ask("GET", "/account?x=secret")
    deadline = time.monotonic() + 20
    while "/account" not in (logged := place.front.log.read_text()):
        assert time.monotonic() < deadline, logged
    assert "GET /login" in logged
    assert "secret" not in logged


@pytest.mark.spec("invariant I6")
def test_the_feed_passes_at_once_and_from_any_node(place: Place) -> None:
    secret = place.mint.secrets["service"]
    readers = []
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = place.front.connection()
            stack.callback(connection.close)
            connection.request("GET", FEED, headers={**basic(secret), "accept": "text/event-stream"})
            readers.append(Reader(connection))
            readers[-1].until_heartbeat()
        for _ in range(3):
            token = place.post(TOKEN, "service", grant_type="client_credentials").json["access_token"]
            place.post("/api/v2/auth/revoke", "service", token=token)
            entries = [reader.event() for reader in readers]
            while any(entry is not None and entry.is_heartbeat for entry in entries):
                entries = [
                    reader.event() if entry is not None and entry.is_heartbeat else entry
                    for reader, entry in zip(readers, entries, strict=True)
                ]
            assert all(entry is not None and "jti" in entry.data[0] for entry in entries)


@dataclass
class Load:
    """Clients that refresh for ever, each its own grant, and send again what was not answered."""

    place: Place
    acknowledged: int = 0
    unanswered: list[Counter[str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    is_over: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self.unanswered = [Counter() for _ in self.place.tokens]
        threads = [
            threading.Thread(target=self._refresh_for_ever, args=(which,)) for which in range(len(self.place.tokens))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.is_over = True
            for thread in threads:
                thread.join()
        for which in range(CLIENTS):
            assert self._refresh(which), self.wrong

    def go_on(self, refreshes: int) -> None:
        """Wait until so many further refreshes were answered."""
        with self._changed:
            until = self.acknowledged + refreshes
            assert self._changed.wait_for(lambda: self.acknowledged >= until or self.wrong, timeout=90)
        assert not self.wrong

    def _refresh_for_ever(self, which: int) -> None:
        while not (self.is_over or self.wrong):
            self._refresh(which)

    def _refresh(self, which: int) -> bool:
        try:
            got = self.place.refresh(self.place.tokens[which])
        except (OSError, http.client.HTTPException) as error:
            self.unanswered[which][type(error).__name__] += 1
            return False
        with self._changed:
            if got.status == 200:
                self.place.tokens[which] = got.json["refresh_token"]
                self.acknowledged += 1
            elif got.status in {502, 503, 504}:
                self.unanswered[which][str(got.status)] += 1
                said = got.json.get("error"), got.headers.get("retry-after")
                if said != ("temporarily_unavailable", str(RETRY_AFTER)):
                    self.wrong.append(f"{got.status} {said}")
            else:
                self.wrong.append(f"{got.status} {got.body!r}")
            self._changed.notify_all()
        if got.status != 200:
            time.sleep(RETRY_AFTER)  # as the answer asks for; at once it might be sent to the same node again
        return got.status == 200


@pytest.mark.spec("invariant I2", "invariant I4")
def test_a_node_that_dies_costs_nobody_more_than_a_retry(place: Place) -> None:
    load = Load(place)
    with load.running():
        load.go_on(STEP)
        place.cluster.stop(0, signal.SIGKILL)
        load.go_on(STEP)
        place.cluster.start(0)
        load.go_on(STEP)
    print(f"\n{place.front.kind}: {load.acknowledged} refreshes, a kill, unanswered {sum(load.unanswered, Counter())}")
    assert all(lost.total() <= 1 for lost in load.unanswered)


def test_nodes_replaced_one_by_one_cost_nobody_more_than_a_retry(place: Place) -> None:
    load = Load(place)
    with load.running():
        for number in (0, 1):
            load.go_on(STEP)
            place.cluster.stop(number)
            load.go_on(STEP)
            place.cluster.start(number)
            time.sleep(SETTLE)  # as docs/deploying.md says; nginx tells nobody that it would ask again
        load.go_on(STEP)
    print(
        f"\n{place.front.kind}: {load.acknowledged} refreshes, 2 restarts, unanswered {sum(load.unanswered, Counter())}"
    )
    assert all(lost.total() <= 2 for lost in load.unanswered)
    assert "Traceback" not in place.cluster.errors(0) + place.cluster.errors(1)
