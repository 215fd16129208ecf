"""A verifier that starts beside a hundred thousand live revocations. Run as a child process: it prints what that took."""

import sys
import time

from bench import machine
from bench.listeners import Here, only_source
from bench.seed import API, ISSUER
from mintmark.verifier import Verifier


def main(port: str, secret: str) -> None:
    """Start, and print seconds, megabytes and entries."""
    # Keys first: what is measured is the list.
    with Verifier(ISSUER, API, transport=Here(int(port))) as keys_only:
        keys_only.start()
    before = machine.resident_mb(0)
    with Verifier(ISSUER, API, client_id="service-RS256", client_secret=secret, transport=Here(int(port))) as verifier:
        began = time.perf_counter()
        verifier.start()
        source = only_source(verifier)
        assert source.follower is not None
        source.follower.caught_up.wait(60)
        took = time.perf_counter() - began
        print(f"[{took:.3f}, {machine.resident_mb(0) - before:.1f}, {len(source.table)}]")


if __name__ == "__main__":
    machine.pin(machine.LOAD_CORE)
    main(*sys.argv[1:])
