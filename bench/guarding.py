"""The guard under test: application, uvicorn and event loop of ``mintmark guard``. Run as a child process."""

import json
from pathlib import Path
from typing import Final

from bench import machine
from bench.seed import API, ISSUER
from bench.serving import listening, say_port
from bench.verifying import Memory
from mintmark.cli.listening import Stop, answer, run
from mintmark.jose.jwk import KeySet
from mintmark.verifier import Verifier
from mintmark.verifier.bearer import Requirement
from mintmark.verifier.guard import Guard
from mintmark.verifier.guard.paths import segments_of
from mintmark.verifier.guard.routes import Route, Routes

PATH: Final = "/orders"


async def serve(keys: KeySet) -> None:
    """Serve until SIGTERM; the issuer is in memory and has these keys."""
    routes = [Route(path, segments_of(path), None, Requirement(scope="orders:read")) for path in (PATH, "/reports")]
    with Verifier(ISSUER, API, transport=Memory(keys)) as verifier, listening() as listener:
        guard = Guard(verifier, Routes(routes))
        await guard.prepare()
        await answer(
            guard,
            listener,
            on_ready=lambda: say_port(listener),
            on_stop=lambda: None,
            stop=Stop(1),
        )


if __name__ == "__main__":
    (file,) = machine.pin_as_told()
    run(serve(KeySet.from_jwks(json.loads(Path(file).read_bytes()))))
