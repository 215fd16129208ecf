"""Verifiers of one process, each with its own socket and threads, that note when they began to reject what was revoked.

Run as a child process: it says ``ready`` when all have caught up, and writes what it noted when its input ends.
"""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import machine
from bench.seed import API, ISSUER
from mintmark.oauth.revocations import WireEntry
from mintmark.verifier import TokenRejected, Verifier
from mintmark.verifier.http import HTTPTransport
from mintmark.verifier.ports import Response
from mintmark.verifier.source import Source

_PATIENCE: Final = 20.0
_PROVED_EVERY: Final = 50
"""Of so many rejections one is proved by presenting the token."""


class Here(HTTPTransport):
    """Finds the issuer of the benchmarks on a loopback port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._origin = f"http://127.0.0.1:{port}"

    def request(self, method: Any, url: str, **how: Any) -> Response:
        """Ask."""
        return super().request(method, url.replace(ISSUER, self._origin), **how)

    def stream(self, url: str, **how: Any) -> Any:
        """Open a stream."""
        return super().stream(url.replace(ISSUER, self._origin), **how)


class Noted(msgspec.Struct):
    """What the verifiers of a process saw: for each, when it began to reject each ``jti``; how many were proved."""

    rejected_at: list[dict[str, float]]
    proved: int


def listen(count: int, port: int, secret: str, tokens: Mapping[str, str]) -> list[Verifier]:
    """Start ``count`` verifiers and wait until they hear the feed."""
    found = []
    for _ in range(count):
        verifier = Verifier(
            ISSUER, API, client_id="service-RS256", client_secret=secret, transport=Here(port), on_stale="deny"
        )
        _SEEN[id(only_source(verifier))] = (verifier, {}, tokens)
        found.append(verifier)
    # Starting threads and waiting for the first heartbeat is what the first request does.
    starting = [threading.Thread(target=verifier.start) for verifier in found]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    for verifier in found:
        follower = only_source(verifier).follower
        if follower is None or not follower.caught_up.wait(_PATIENCE):
            raise RuntimeError("a verifier does not hear the feed")
    return found


def only_source(verifier: Verifier) -> Source:
    """Return the source of a verifier with one issuer."""
    (source,) = verifier._sources.values()  # noqa: SLF001 - what is measured happens inside
    return source


_SEEN: Final[dict[int, tuple[Verifier, dict[str, float], Mapping[str, str]]]] = {}
_proved = 0
_revoked = Source._revoked  # noqa: SLF001 - what is measured happens inside


def _noting(source: Source, entries: Sequence[WireEntry]) -> None:
    global _proved  # noqa: PLW0603 - one process, one measurement
    _revoked(source, entries)
    verifier, rejected_at, tokens = _SEEN[id(source)]
    now = time.monotonic()
    for entry in entries:
        if entry.jti is not None and entry.jti in tokens:
            rejected_at[entry.jti] = now
            if hash(entry.jti) % _PROVED_EVERY == id(source) // 64 % _PROVED_EVERY:
                _proved += _is_rejected(verifier, tokens[entry.jti])


def _is_rejected(verifier: Verifier, raw: str) -> bool:
    try:
        verifier.verify(raw)
    except TokenRejected as rejection:
        if rejection.code == "revoked":
            return True
    raise RuntimeError("a revoked token was not rejected as such")


def main(count: str, port: str, secret: str, tokens_file: str, output: str) -> None:
    """Listen until the input ends, then write what was noted."""
    tokens = msgspec.json.decode(Path(tokens_file).read_bytes(), type=dict[str, str])
    Source._revoked = _noting  # type: ignore[method-assign,assignment] # noqa: SLF001
    verifiers = listen(int(count), int(port), secret, tokens)
    print("ready", flush=True)
    sys.stdin.read()
    noted = Noted([_SEEN[id(only_source(verifier))][1] for verifier in verifiers], _proved)
    patience = time.monotonic() + _PATIENCE
    while time.monotonic() < patience and any(len(one) < len(tokens) for one in noted.rejected_at):
        time.sleep(0.05)
    noted.proved = _proved
    Path(output).write_bytes(msgspec.json.encode(noted))
    for verifier in verifiers:
        verifier.close()


if __name__ == "__main__":
    # Two hundred services are more than one core of load; they take what the authority leaves of the other.
    machine.spread()
    main(*sys.argv[1:])
