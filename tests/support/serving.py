"""An authority in a process of its own, for real browsers and real clients; the SQLite store, real time, real sockets.

``served()`` starts ``python -m tests.support.serving DATABASE APPLICATION PACE``, which serves as ``mintmark serve``
does, prints one JSON line when it is ready, and ends when it is told to or when its standard input closes, so it never
outlives the tests.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import SecretBytes
from tests.support.installation import API, PASSWORD

from mintmark import bootstrap
from mintmark.authority.core import Authority
from mintmark.authority.model import Client, Resource
from mintmark.authority.people import create_user
from mintmark.authority.registration import create_client
from mintmark.authority.resources import create_resource
from mintmark.cli import listening, serving
from mintmark.config import Settings
from mintmark.system.clock import SystemClock, SystemRandomness
from mintmark.web.streaming import Feed, Pace

ROOT: Final = Path(__file__).resolve().parents[2]
SCOPES: Final = ("orders:read", "orders:write")
_OPENID: Final = ("openid", "profile", "email", "offline_access")
_PEOPLE: Final = 60
_STOP_SECONDS: Final = 10


@dataclass(frozen=True)
class Served:
    """What the tests have to know. Every person's password is ``PASSWORD``.

    Clients: ``web`` (confidential), ``es256`` (confidential, signed with ES256), ``spa`` (public), ``trusted`` (nobody
    is asked for consent), ``service`` (client_credentials, introspects for the API). All are native, so that their
    redirect URIs may be on loopback, where any port is accepted.
    """

    issuer: str
    secrets: dict[str, str] = field(repr=False)
    people: list[str] = field(repr=False)


@contextlib.contextmanager
def served(directory: Path, application: str, pace: Pace | None = None) -> Iterator[Served]:
    """Run an authority while the context lasts.

    Args:
        directory: Takes its database and its log.
        application: Origin of the application that the clients belong to.
        pace: Of its revocation feed.
    """
    database, encoded_pace = str(directory / "authority.sqlite3"), json.dumps(asdict(pace or Pace()))
    command = [sys.executable, "-m", "tests.support.serving", database, application, encoded_pace]
    # What the person at this machine has set must not reach the tests.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MINTMARK_")}
    with (
        (directory / "authority.log").open("wb") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (directory / "authority.log").read_text()[-4000:]
            yield Served(**json.loads(line))
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


async def _serve(database: str, application: str, pace: Pace) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(sys.stdin)
        signal.raise_signal(signal.SIGTERM)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = Settings(issuer=issuer, database=database, master_key=SecretBytes(bytes(32)))
        world = bootstrap.World(SystemClock(), SystemRandomness(), has_cheap_passwords=True)
        async with bootstrap.running(settings, world) as authority:
            inhabitants = await _settle(authority, application)

            def ready() -> None:
                loop.add_reader(sys.stdin, stop)
                print(json.dumps(asdict(inhabitants)), flush=True)

            await serving.serve(
                authority,
                listener,
                on_ready=ready,
                patience=1,
                cleanup_interval=1,
                cleanup_batch=100,
                feed=Feed(authority, pace),
            )


async def _settle(authority: Authority, application: str) -> Served:
    await create_resource(authority, Resource(resource=API, name="Orders", scopes=SCOPES))
    people = [f"person{number}@example.com" for number in range(_PEOPLE)]
    for email in people:
        await create_user(authority, email=email, password=PASSWORD, name="Ada Lovelace")
    common: dict[str, Any] = {
        "application_type": "native",
        "redirect_uris": ("http://127.0.0.1/cb", "http://127.0.0.1/moving", "http://127.0.0.1/callback"),
        "post_logout_redirect_uris": (f"{application}/bye",),
        "scope": (*_OPENID, *SCOPES),
        "resources": (API,),
    }
    clients = (
        Client(client_id="web", name="Web app", **common),
        Client(
            client_id="es256",
            name="Modern web app",
            access_token_signed_response_alg="ES256",
            id_token_signed_response_alg="ES256",
            **common,
        ),
        Client(
            client_id="spa",
            name="Single-page app",
            token_endpoint_auth_method="none",
            classification="public",
            **common,
        ),
        Client(client_id="trusted", name="Our own app", skip_consent=True, **common),
        Client(
            client_id="service",
            name="Order service",
            grant_types=("client_credentials",),
            scope=SCOPES,
            resources=(API,),
            default_resource=API,
            serves=(API,),
        ),
    )
    secrets = {}
    for client in clients:
        _, secret = await create_client(authority, client)
        if secret is not None:
            secrets[client.client_id] = secret
    return Served(authority.policy.issuer, secrets, people)


if __name__ == "__main__":
    place, origin, encoded = sys.argv[1:]
    listening.run(_serve(place, origin, Pace(**json.loads(encoded))))
