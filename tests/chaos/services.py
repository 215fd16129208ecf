"""Services that verify access tokens over and over: real verifiers, each with threads and sockets of its own.

They run in child processes: ``python -m tests.chaos.services ISSUER CLIENT_SECRET FIRST COUNT`` reads from its standard
input which tokens there are, a line each, and says at its end what it made of them.
"""

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.chaos.history import Sighting, digest_of
from tests.support.nodes import API
from tests.unit.cli.processes import clean_environment

from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable
from mintmark.verifier.ports import SYSTEM_CLOCK

ROOT: Final = Path(__file__).resolve().parents[2]
PROCESSES: Final = 2
_ROUND: Final = 0.2
_LOOK_AGAIN: Final = 10
"""What was rejected is looked at again in one round of so many: it must not come back."""
_STOP_SECONDS: Final = 30


class Services:
    """All verifiers.

    Attributes:
        unavailable: How often a verifier has said that it cannot say.
    """

    def __init__(self, processes: Sequence["subprocess.Popen[str]"]) -> None:
        self.unavailable = 0
        self._processes = processes
        self._known: set[str] = set()

    def watch(self, grant: str, tokens: Sequence[str]) -> None:
        """Have all verifiers look at these access tokens from now on."""
        for token in tokens:
            if token in self._known:
                continue
            self._known.add(token)
            for process in self._processes:
                assert process.stdin is not None
                process.stdin.write(f"{grant} {token}\n")
                process.stdin.flush()

    def finish(self) -> list[Sighting]:
        """End all verifiers and return what they have seen."""
        found = []
        for process in self._processes:
            said, _ = process.communicate(timeout=_STOP_SECONDS)
            report = json.loads(said)
            self.unavailable += report["unavailable"]
            found += [Sighting(**one) for one in report["sightings"]]
        return found


@contextlib.contextmanager
def serving(issuer: str, secret: str, count: int, folder: Path) -> Iterator[Services]:
    """Run ``count`` verifiers while the context lasts; returns when each hears the feed."""
    shares = [count * (number + 1) // PROCESSES - count * number // PROCESSES for number in range(PROCESSES)]
    with contextlib.ExitStack() as stack:
        processes = []
        for number, share in enumerate(shares):
            command = [sys.executable, "-m", "tests.chaos.services", issuer, secret, str(number), str(share)]
            log = stack.enter_context((folder / f"services{number}.txt").open("wb"))
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", *command],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            stack.callback(_end, process)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line == "ready\n", f"{line}\n{(folder / 'services0.txt').read_text()[-2000:]}"
        yield Services(processes)


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


class _Watcher:
    """The verifiers of this process and what they have seen."""

    def __init__(self, issuer: str, secret: str, first: str, count: int) -> None:
        self.verifiers = {
            f"{first}/{number}": Verifier(issuer, API, client_id="service", client_secret=secret, on_stale="deny")
            for number in range(count)
        }
        self.tokens: dict[str, str] = {}
        self.seen: dict[tuple[str, str], Sighting] = {}
        self.unavailable = 0
        self._rounds = 0

    def start(self) -> None:
        """Return when each verifier hears the feed."""
        for verifier in self.verifiers.values():
            while not verifier.start() or any(
                value for name, value in verifier.metrics().items() if "_feed_stale{" in name
            ):
                time.sleep(_ROUND)

    def read(self, line: str) -> None:
        """Take in a token."""
        grant, token = line.split()
        self.tokens[token] = grant

    def look(self) -> None:
        """Verify everything everywhere once."""
        self._rounds += 1
        for name, verifier in self.verifiers.items():
            for token, grant in list(self.tokens.items()):
                before = self.seen.get((name, token))
                if before is None:
                    before = Sighting(verifier=name, grant=grant, access_token=digest_of(token))
                elif before.rejected_at is not None and self._rounds % _LOOK_AGAIN:
                    continue
                try:
                    self.seen[name, token] = self._after(before, verifier, token)
                except VerifierUnavailable:
                    # It is stale, and would say the same of every token.
                    self.unavailable += 1
                    break

    @staticmethod
    def _after(sighting: Sighting, verifier: Verifier, token: str) -> Sighting:
        began = time.monotonic()
        try:
            verified = verifier.verify(token)
        except TokenRejected as problem:
            if sighting.rejected_at is not None:
                return sighting
            return dataclasses.replace(sighting, rejected_at=began, code=problem.code)
        expires_at = began + verified.expires_at - SYSTEM_CLOCK.now()
        return dataclasses.replace(sighting, accepted_at=began, expires_at=expires_at)


def _watch(issuer: str, secret: str, first: str, count: int) -> None:
    watcher = _Watcher(issuer, secret, first, count)
    watcher.start()
    print("ready", flush=True)
    is_over = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            watcher.read(line)
        is_over.set()

    threading.Thread(target=read, daemon=True).start()
    while not is_over.wait(_ROUND):
        watcher.look()
    report = {
        "unavailable": watcher.unavailable,
        "sightings": [dataclasses.asdict(one) for one in watcher.seen.values()],
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    authority, password, number, how_many = sys.argv[1:]
    _watch(authority, password, number, int(how_many))
