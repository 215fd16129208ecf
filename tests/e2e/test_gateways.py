"""Real gateways with a real guard: an authority, `mintmark guard`, and nginx, HAProxy or Envoy in front of a service.

Each gateway runs with its file under ``deploy/``; only ports and folders are others.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from tests.support.gateways import DEPLOY, Echo, Got, ask, gateway
from tests.support.serving import Served, served
from tests.unit.cli.processes import free_port, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KINDS = ("nginx", "haproxy", "envoy")
PREFIX = "/api/v2/auth"
PATIENCE = 2000
"""Requests within which a revocation has to arrive; each takes a few milliseconds."""

FORGED = (
    "X-Mintmark-Subject: eve",
    "x-mintmark-subject: eve",
    "X-MINTMARK-ROLES: admin",
    "X-Mintmark-Permissions: everything",
    "X-Mintmark-Client: eve",
    "X-Mintmark-Scope: orders:admin",
    "X-Mintmark-Issuer: https://eve.example",
    # What a header of this name lists, proxies take out (RFC 9110 §7.6.1): perhaps what the guard has set.
    "Connection: X-Mintmark-Subject, X-Mintmark-Roles",
)
OTHER_SPELLINGS = ("X_Mintmark_Subject: eve", "X-Mintmark_Roles: admin", "x_mintmark_permissions: everything")


class Door:
    """A gateway, and who stands behind it.

    Attributes:
        kind: ``nginx``, ``haproxy`` or ``envoy``.
        service: The service.
    """

    def __init__(self, kind: str, port: int, service: Echo) -> None:
        self.kind = kind
        self.service = service
        self._port = port

    def __call__(self, line: str, *headers: str, body: bytes = b"") -> Got:
        """Send a request; see `refused` for one that must not reach the service."""
        return ask(self._port, line, *headers, body=body)

    def refused(self, line: str, *headers: str) -> Got:
        """Send a request that must not reach the service."""
        before = self.service.count
        got = self(line, *headers)
        assert self.service.count == before, f"{line} reached the service"
        return got

    def said(self, **values: str) -> list[tuple[str, str]]:
        """Return the identity headers that the service gets; nginx leaves empty ones out."""
        names = ("subject", "client", "scope", "roles", "permissions", "issuer")
        every = {f"x-mintmark-{name}": values.get(name, "") for name in names}
        return sorted((name, value) for name, value in every.items() if value or self.kind != "nginx")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("authority"), "http://127.0.0.1:1") as authority:
        yield authority


@contextmanager
def guard(folder: Path, issuer: str, secret: str) -> Iterator[int]:
    """Run a guard with the settings under ``deploy/`` while the context lasts."""
    settings = (DEPLOY / "guard.toml").read_text()
    for before, after in {"https://auth.example": issuer, '"gateway"': '"service"'}.items():
        assert before in settings
        settings = settings.replace(before, after)
    (folder / "guard.toml").write_text(settings)
    (folder / "gateway.secret").write_text(secret + "\n")
    port = free_port()
    with started(folder, "guard", "--port", str(port)) as process:
        process.read_until(f"mintmark guard is ready: http://127.0.0.1:{port}\n")
        yield port


@pytest.fixture(scope="module")
def guard_port(authority: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with guard(tmp_path_factory.mktemp("guard"), authority.issuer, authority.secrets["service"]) as port:
        yield port


@pytest.fixture(scope="module")
def service() -> Iterator[Echo]:
    with Echo() as echo:
        yield echo


@pytest.fixture(scope="module", params=KINDS)
def door(
    request: pytest.FixtureRequest, guard_port: int, service: Echo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp(request.param)
    with gateway(request.param, folder, guard=guard_port, service=service.port) as port:
        yield Door(request.param, port, service)


def post(authority: Served, path: str, **form: str) -> bytes:
    form |= {"client_id": "service", "client_secret": authority.secrets["service"]}
    data = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    with urlopen(Request(authority.issuer + PREFIX + path, data), timeout=10) as response:
        return bytes(response.read())


def token(authority: Served, scope: str = "orders:read") -> str:
    answer = post(authority, "/token", grant_type="client_credentials", scope=scope)
    return str(json.loads(answer)["access_token"])


def bearer(authority: Served, scope: str = "orders:read") -> str:
    return f"Authorization: Bearer {token(authority, scope)}"


@pytest.mark.spec("S01", "S04")
def test_the_service_gets_the_request_as_it_was_and_whose_it_is(door: Door, authority: Served) -> None:
    good = bearer(authority, "orders:write+orders:read")
    got = door(
        "POST /orders/7?x=%2F..&y=1", good, "X-Other: as it was", "Content-Type: text/plain", body=b"a body" * 999
    )
    assert got.status == 200
    assert got.seen["line"] == "POST /orders/7?x=%2F..&y=1 HTTP/1.1"
    assert got.seen["body"] == "a body" * 999
    assert ["x-other", "as it was"] in [[name.lower(), value] for name, value in got.seen["headers"]]
    assert got.identity == door.said(
        subject="service", client="service", scope="orders:read orders:write", issuer=authority.issuer
    )


@pytest.mark.spec("S04")
@pytest.mark.parametrize("spellings", [FORGED, FORGED * 2, FORGED + OTHER_SPELLINGS], ids=["once", "twice", "others"])
def test_forged_identity_never_reaches_the_service(door: Door, authority: Served, spellings: tuple[str, ...]) -> None:
    got = door("GET /orders", bearer(authority), *spellings)
    assert got.status == 200
    assert got.identity == door.said(subject="service", client="service", scope="orders:read", issuer=authority.issuer)
    for sent in ((), ("Authorization: Bearer garbage",), (bearer(authority),)):
        got = door("GET /health", *sent, *spellings)
        assert got.status == 200
        assert got.identity == door.said()


@pytest.mark.spec("S04")
def test_spellings_that_only_some_servers_conflate_never_reach_the_service(door: Door) -> None:
    got = door("GET /health", "X.Mintmark.Subject: eve")
    if got.status == 200:
        assert got.identity == door.said()
    else:
        assert (door.kind, got.status) == ("envoy", 400)


@pytest.mark.spec("S01", "RFC 6750 §3")
def test_a_401_carries_its_challenge_to_the_client(door: Door, authority: Served) -> None:
    assert door("GET /orders", bearer(authority)).status == 200
    got = door.refused("GET /orders")
    assert (got.status, got.headers["www-authenticate"]) == (401, "Bearer")
    for bad in ("a.b.c", "garbage", token(authority)[:-8] + "A" * 8, "x" * 9000):
        got = door.refused("GET /orders", f"Authorization: Bearer {bad}")
        assert got.status in ({400, 401} if len(bad) > 8192 else {401})
        if got.status == 401:
            assert got.headers["www-authenticate"].startswith('Bearer error="invalid_token"')


@pytest.mark.spec("S01", "RFC 6750 §3.1")
def test_a_403_carries_its_challenge_to_the_client(door: Door, authority: Served) -> None:
    got = door.refused("DELETE /orders/7", bearer(authority))
    assert got.status == 403
    assert 'error="insufficient_scope"' in got.headers["www-authenticate"]
    assert 'scope="orders:write"' in got.headers["www-authenticate"]
    got = door.refused("GET /orders/all", bearer(authority))
    assert got.status == 403
    assert 'error="insufficient_scope"' in got.headers["www-authenticate"]


@pytest.mark.spec("S01", "S02", "RFC 6750 §3.1")
def test_credentials_that_cannot_be_read(door: Door, authority: Served) -> None:
    good = bearer(authority)
    got = door.refused("GET /orders", "Authorization: Bearer a b")
    assert got.status == (401 if door.kind == "nginx" else 400)
    assert 'error="invalid_request"' in got.headers["www-authenticate"]
    assert door.refused("GET /orders", good, good).status == 400
    assert door.refused("GET /orders?access_token=" + good.rpartition(" ")[2]).status == 401


def test_what_has_no_route_is_refused(door: Door, authority: Served) -> None:
    for line in ("GET /", "GET /nowhere", "POST /health", "PATCH /orders", "GET /_mintmark"):
        got = door.refused(line, bearer(authority))
        assert got.status in {403, 404}
        assert "www-authenticate" not in got.headers


@pytest.mark.spec("S03")
@pytest.mark.parametrize(
    "target",
    [
        "//health",
        "/health//",
        "/./health",
        "/orders/../health",
        "/health/../orders",
        "/health/%2e%2e/orders",
        "/health/..%2forders",
        "/health%2f..%2forders",
        "/health/..%5corders",
        "/health/..%252forders",
        "/health;/../orders",
        "/health/..;/orders",
        "/health%00/orders",
        "/health%3f/../orders",
        "/health/.",
        "/Health",
        "/HEALTH",
        "/%EF%BD%88ealth",
        "/health\\..\\orders",
        "/health#/../orders",
        "health",
        "*",
    ],
)
def test_a_path_that_could_be_read_in_two_ways_reaches_nobody(door: Door, target: str) -> None:
    assert door("GET /%68ealth?x=/../;%2f").status == 200
    assert door.refused(f"GET {target}").status in {400, 403, 404}


@pytest.mark.spec("S03")
@pytest.mark.parametrize(
    "told",
    [
        "X-Original-URI: /health",
        "X-Original-Method: GET",
        "X-Forwarded-Uri: /health",
        "X-Envoy-Original-Path: /health",
        "X-Original-URL: /health",
        "X-Rewrite-URL: /health",
        "X_Original_URI: /health",
    ],
)
def test_what_the_client_says_of_its_request_counts_for_nothing(door: Door, told: str) -> None:
    assert door.refused("GET /orders", told).status == 401
    assert door("GET /health", told.replace("/health", "/orders")).status == 200


@pytest.mark.spec("I6")
def test_a_revoked_token_is_refused_at_the_gateway(door: Door, authority: Served) -> None:
    revoked, other = token(authority), bearer(authority)
    sent = f"Authorization: Bearer {revoked}"
    assert door("GET /orders", sent).status == 200
    post(authority, "/revoke", token=revoked)
    # Who asks again and again gets the remembered answer; only the feed can have changed it.
    statuses = [200]
    while statuses[-1] == 200 and len(statuses) < PATIENCE:
        statuses.append(door("GET /orders", sent).status)
    assert statuses[-1] == 401
    assert 'error="invalid_token"' in door.refused("GET /orders", sent).headers["www-authenticate"]
    assert door("GET /orders", other).status == 200


@pytest.mark.spec("I4")
@pytest.mark.parametrize("kind", KINDS)
def test_while_the_issuer_is_away_only_what_might_be_good_is_503(
    kind: str, authority: Served, service: Echo, tmp_path: Path
) -> None:
    with (
        socket.socket() as nobody,
        guard(tmp_path, f"http://127.0.0.1:{_port_of(nobody)}", "s3cret") as guard_port,
        gateway(kind, _folder(tmp_path), guard=guard_port, service=service.port) as port,
    ):
        door = Door(kind, port, service)
        assert door.refused("GET /orders", bearer(authority)).status == 503
        for bad in ("garbage", "x" * 5000):
            assert door.refused("GET /orders", f"Authorization: Bearer {bad}").status == 401
        assert door.refused("GET /orders").status == 401
        assert door("GET /health").status == 200
        assert ask(guard_port, "GET /livez").status == 200
        assert ask(guard_port, "GET /readyz").status == 503


@pytest.mark.spec("I4")
@pytest.mark.parametrize("kind", KINDS)
def test_while_the_guard_is_away_nothing_passes(kind: str, authority: Served, service: Echo, tmp_path: Path) -> None:
    with (
        socket.socket() as nobody,
        gateway(kind, tmp_path, guard=_port_of(nobody), service=service.port) as port,
    ):
        door = Door(kind, port, service)
        for sent in ((), (bearer(authority),)):
            for line in ("GET /orders", "GET /health"):
                got = door.refused(line, *sent, *FORGED)
                assert got.status == 503
                assert kind == "envoy" or got.headers["retry-after"] == "1"


def test_should_haproxys_script_fail_nothing_passes(guard_port: int, service: Echo, tmp_path: Path) -> None:
    with gateway("haproxy", _folder(tmp_path), guard=guard_port, service=service.port) as port:
        assert Door("haproxy", port, service)("GET /health").status == 200
    folder = tmp_path / "broken"
    folder.mkdir()
    with gateway(
        "haproxy", folder, guard=guard_port, service=service.port, replaced={"txn.sf:pathq()": "nil .. 1"}
    ) as port:
        assert Door("haproxy", port, service).refused("GET /health").status == 503


def test_the_guard_tells_about_itself(guard_port: int) -> None:
    assert ask(guard_port, "GET /livez").status == 200
    assert ask(guard_port, "GET /readyz").status == 200
    metrics = ask(guard_port, "GET /metrics").body.decode()
    assert "# TYPE mintmark_guard_answers_total counter\n" in metrics
    assert 'mintmark_verifier_keys{issuer="' in metrics


@pytest.mark.spec("RFC 9112 §3")
def test_the_guard_survives_what_is_no_request(guard_port: int) -> None:
    for line in ("CONNECT api.example:443", "GET http://[", "\x00", "GET /envoy/%", "OPTIONS *"):
        with socket.create_connection(("127.0.0.1", guard_port), timeout=10) as connection:
            connection.sendall(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
            assert not connection.recv(4096).startswith(b"HTTP/1.1 200")
    assert ask(guard_port, "GET /livez").status == 200


def _port_of(nobody: socket.socket) -> int:
    """Return a port that stays taken, and at which nobody answers."""
    nobody.bind(("127.0.0.1", 0))
    return int(nobody.getsockname()[1])


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "gateway"
    folder.mkdir()
    return folder
