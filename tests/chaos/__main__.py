"""``python -m tests.chaos``: a run as long as one likes; exit code 1 if anything was wrong."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.node import VARIANTS
from tests.chaos.plan import NODES
from tests.chaos.run import Setup, run


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long there are faults")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--verifiers", type=int, default=50)
    parser.add_argument("--seed", type=int, help="of an earlier run, to have the same faults again")
    parser.add_argument("--variant", choices=VARIANTS, default="whole", help="what is left out of the nodes")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.randrange(1_000_000)
    setup = Setup(
        seed=seed,
        seconds=60 * given.minutes,
        clients=given.clients,
        verifiers=given.verifiers,
        variants=(given.variant,) * NODES,
    )
    # Everything that was started is ended on the way out, whichever signal comes.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="mintmark-chaos-"))
    is_wanted = False
    try:
        result = run(setup, folder, lambda line: print(line, flush=True))
        is_wanted = bool(result.violations)
    finally:
        if not is_wanted:
            shutil.rmtree(folder, ignore_errors=True)
    print("\n".join(result.lines))
    if is_wanted:
        print(f"what the processes said is in {folder}")
    return 1 if result.violations else 0


if __name__ == "__main__":
    try:
        sys.exit(_main())
    except KeyboardInterrupt:
        sys.exit(130)
