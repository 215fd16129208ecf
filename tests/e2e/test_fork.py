"""Forks at any moment, while threads verify, against a real authority: nothing hangs, and no revocation is missed."""

import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.support.serving import ROOT, served

from mintmark.testing import Mint
from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable
from mintmark.verifier.ports import Response

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # What Python 3.12 says of forks beside threads is what this is about.
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]


def test_children_forked_at_any_moment_verify_and_hear_of_revocations(tmp_path: Path) -> None:
    with served(tmp_path, "http://127.0.0.1:1") as authority:
        command = [sys.executable, "-m", "tests.e2e.forking", json.dumps(asdict(authority))]
        outcome = subprocess.run(
            command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=240, check=False
        )
    assert outcome.returncode == 0, outcome.stderr[-8000:]


@pytest.fixture
def mint() -> Iterator[Mint]:
    with Mint() as mint:
        yield mint


def status_of_child(live: Callable[[], object]) -> int:
    """Return the exit status of a child that lives so: 0 if it raised nothing."""
    child = os.fork()
    if child == 0:
        # Nothing may come out of here: the child would go on as a second pytest.
        try:
            live()
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_does_not_wait_for_a_question_that_a_thread_of_its_parent_asks(
    mint: Mint, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier, token = mint.verifier(introspect="always"), mint.token()
    parent, request = os.getpid(), mint.transport.request
    waiting, go = threading.Event(), threading.Event()

    def hesitant(method: Literal["GET", "POST"], url: str, **rest: Any) -> Response:
        if os.getpid() == parent:
            waiting.set()
            assert go.wait(60)
        return request(method, url, **rest)

    monkeypatch.setattr(mint.transport, "request", hesitant)
    asking = threading.Thread(target=verifier.verify, args=(token,))
    asking.start()
    assert waiting.wait(60)
    status = status_of_child(lambda: verifier.verify(token))
    go.set()
    asking.join()
    assert status == 0


def test_a_child_of_the_middle_of_an_event_judges_anew_what_it_remembers(mint: Mint) -> None:
    """The thread that reads the feed may have added an entry, and have had no time to say so."""
    verifier = mint.verifier()
    kept, lost = mint.token(), mint.token()
    claims = [verifier.verify(token).claims for token in (kept, lost)]
    (source,) = verifier._sources.values()
    source.table.add("jti", claims[1]["jti"], None, claims[1]["exp"])

    def live() -> None:
        verifier.verify(kept)
        with pytest.raises(TokenRejected):
            verifier.verify(lost)

    with mint.outage():
        assert status_of_child(live) == 0


def test_what_its_parent_has_heard_is_not_fresh_in_a_child(mint: Mint) -> None:
    verifier, token = mint.verifier(), mint.token()

    def live() -> None:
        with pytest.raises(VerifierUnavailable):
            verifier.verify(token, on_stale="deny")
        verifier.verify(token)

    with mint.outage():
        verifier.verify(token, on_stale="deny")
        assert status_of_child(live) == 0
        verifier.verify(token, on_stale="deny")


def test_the_verifier_of_a_child_is_closed_if_that_of_its_parent_was(mint: Mint) -> None:
    def names() -> set[str]:
        return {one.name for one in threading.enumerate() if one.name.startswith("mintmark")}

    verifier, open_one = (Verifier(mint.issuer, mint.audience, transport=mint.transport) for _ in range(2))
    verifier.verify(mint.token())
    verifier.close()

    def live(one: Verifier, expected: set[str]) -> None:
        one.verify(mint.token())
        assert names() == expected

    assert status_of_child(lambda: live(verifier, set())) == 0
    assert status_of_child(lambda: live(open_one, {"mintmark-keys"})) == 0
