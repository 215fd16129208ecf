"""Asking a guard as each gateway does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.wire import Answer, send

from mintmark.verifier.guard import Guard, read_settings
from mintmark.verifier.guard.routes import Routes

GATEWAYS: Final = ("nginx", "traefik", "envoy", "haproxy")
HEAD: Final = 'issuer = "https://auth.example"\naudience = "https://api.example"\nintrospect = "when_needed"\n'
"""The least that settings have to say."""

Sent = tuple[tuple[str, str], ...]
_TELLING: Final = {
    "nginx": (b"x-original-method", b"x-original-uri"),
    "haproxy": (b"x-original-method", b"x-original-uri"),
    "traefik": (b"x-forwarded-method", b"x-forwarded-uri"),
}


def table(folder: Path, routes: str) -> Routes:
    """Return the routes that TOML describes."""
    file = folder / "guard.toml"
    file.write_text(HEAD + routes)
    return read_settings(file, {}).routes


@dataclass(frozen=True)
class Asker:
    """Asks one guard."""

    guard: Guard

    async def __call__(
        self, gateway: str, target: str, authorization: str | None = None, *, method: str = "GET", headers: Sent = ()
    ) -> Answer:
        """Ask whether a request may pass; ``headers`` are others that the client sent."""
        sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        if authorization is not None:
            sent.append((b"authorization", authorization.encode("latin-1")))
        if gateway == "envoy":
            path, _, query = target.partition("?")
            return await send(self.guard, method, f"/envoy{path}", query=query.encode(), headers=sent)
        method_header, target_header = _TELLING[gateway]
        sent += [(method_header, method.encode()), (target_header, target.encode("latin-1", "replace"))]
        return await send(self.guard, "GET", f"/{gateway}", headers=sent)

    async def at(self, path: str) -> Answer:
        """Ask the guard about itself."""
        return await send(self.guard, "GET", path)


def identity(answer: Answer) -> dict[str, str]:
    """Return the identity headers of an answer."""
    found = {name.decode(): value.decode() for name, value in answer.headers if name.startswith(b"x-mintmark-")}
    return {name.removeprefix("x-mintmark-"): value for name, value in found.items()}
