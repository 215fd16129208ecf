"""A process that forks again and again, wherever its threads are just then: ``python -m tests.e2e.forking`` SERVED.

Threads verify in a loop: what is remembered, what takes a signature, what the authority has to be asked about, and what
makes it be asked for keys. Each round forks children and revokes a token; a child has to verify as its parent does, on
several threads at once, and to hear of the revocation by itself. Whatever is wrong ends the process with another status
than 0 and is said on standard error; a child that hangs says where.
"""

import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn, Self

from tests.e2e.tokens import obtain, revoke
from tests.support.installation import API
from tests.support.serving import Served

from mintmark.jose import base64url
from mintmark.verifier import TokenRejected, Verifier

ROUNDS = 10
CHILDREN = 4
PATIENCE = 15.0
"""Seconds until a revocation has to be known; it takes a fraction of one."""
HANG = 45.0
"""Seconds after which a child is given up."""


@dataclass
class Service:
    """What the parent made, and its children inherit."""

    verifier: Verifier
    asking: Verifier
    kept: str

    @property
    def tampered(self) -> str:
        """A token of which the signature does not hold; finding out takes the whole work each time."""
        head, _, signature = self.kept.rpartition(".")
        return f"{head}.{signature[::-1]}"

    @property
    def of_unknown_key(self) -> str:
        """A token that makes a verifier ask for keys."""
        header = base64url.encode(b'{"alg":"RS256","typ":"at+jwt","kid":"nobody\'s"}')
        return f"{header}.{self.kept.partition('.')[2]}"

    def ask(self) -> None:
        """Verify with the authority's help; what it said before is forgotten."""
        self.asking._results.discard(self.kept)
        self.asking.verify(self.kept)

    def works(self) -> list[Callable[[], None]]:
        """Return all kinds of work; each raises if its outcome is wrong."""
        return [
            lambda: accept(self.verifier, self.kept),
            lambda: reject(self.verifier, self.tampered),
            lambda: reject(self.verifier, self.of_unknown_key),
            self.ask,
        ]


def accept(verifier: Verifier, token: str) -> None:
    assert verifier.verify(token).client_id == "service"


def reject(verifier: Verifier, token: str) -> None:
    assert not is_accepted(verifier, token)


def is_accepted(verifier: Verifier, token: str) -> bool:
    try:
        verifier.verify(token)
    except TokenRejected:
        return False
    return True


class Loops:
    """Threads that work until they are told to stop, each on one thing."""

    def __init__(self, works: Sequence[Callable[[], None]]) -> None:
        self.turns = [0] * len(works)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(len(works))
        self._running = [self._pool.submit(self._loop, number, work) for number, work in enumerate(works)]

    def _loop(self, number: int, work: Callable[[], None]) -> None:
        while not self._stop.is_set():
            work()
            self.turns[number] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End them; raises what went wrong in one."""
        self._stop.set()
        for one in self._running:
            one.result(HANG)


def fork(service: Service, lost: str, ready: int) -> int:
    pid = os.fork()
    if pid == 0:
        live(service, lost, ready)
    return pid


def live(service: Service, lost: str, ready: int) -> NoReturn:
    """Be a child: say on ``ready`` that all is well so far, then wait for the revocation."""
    faulthandler.dump_traceback_later(HANG, exit=True)
    verdict = 1
    try:
        # Several at once: in the child everything happens for the first time again.
        with ThreadPoolExecutor(8) as pool:
            for one in [pool.submit(work) for work in service.works() * 2]:
                one.result()
        accept(service.verifier, lost)
        os.write(ready, b"+")
        deadline = time.monotonic() + PATIENCE
        while is_accepted(service.verifier, lost):
            assert time.monotonic() < deadline, "the revocation was not heard of"
            time.sleep(0.005)
        accept(service.verifier, service.kept)
        verdict = 0
    except BaseException as problem:  # noqa: BLE001 - nothing may come out of here: there would be two parents
        print(f"child: {type(problem).__name__}: {problem}", file=sys.stderr, flush=True)
    os._exit(verdict)


def play(service: Service, authority: Served) -> None:
    """One round."""
    lost = obtain(authority)
    accept(service.verifier, lost)
    reading, ready = os.pipe()
    children = [fork(service, lost, ready) for _ in range(CHILDREN)]
    os.close(ready)
    said = 0
    # Whoever dies closes its end.
    while said < CHILDREN and os.read(reading, 1):
        said += 1
    revoke(authority, lost)
    outcomes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(reading)
    assert outcomes == [0] * CHILDREN, outcomes
    deadline = time.monotonic() + PATIENCE
    while is_accepted(service.verifier, lost):
        assert time.monotonic() < deadline, "the parent did not hear of the revocation"
        time.sleep(0.005)
    accept(service.verifier, service.kept)


def main(authority: Served) -> None:
    """Play all rounds."""
    secret = authority.secrets["service"]
    verifier = Verifier(authority.issuer, API, client_id="service", client_secret=secret)
    asking = Verifier(authority.issuer, API, client_id="service", client_secret=secret, introspect="always")
    service = Service(verifier, asking, obtain(authority))
    for work in service.works():
        work()
    with Loops(service.works()) as loops:
        for _ in range(ROUNDS):
            play(service, authority)
    assert min(loops.turns) > ROUNDS, f"the parent did no more than {loops.turns}"
    print(f"{ROUNDS * CHILDREN} children; meanwhile in the parent, of each kind: {loops.turns}")


if __name__ == "__main__":
    faulthandler.enable()
    main(Served(**json.loads(sys.argv[1])))
