"""What is seen of an issuer from outside."""

import time
from collections.abc import Callable

from tests.support.issuers import Authority

from mintmark.verifier import TokenRejected, Verifier


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


def metric(made: Verifier, authority: Authority, name: str) -> float:
    return made.metrics()[f'mintmark_verifier_{name}{{issuer="{authority.url}"}}']


def is_accepted(made: Verifier, raw: str) -> bool:
    try:
        made.verify(raw)
    except TokenRejected:
        return False
    return True
