"""``python -m tests.chaos``: a run as long as one likes; exit code 1 if anything was wrong."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

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
    signal.signal(signal.SIGTERM, _interrupt)
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="mintmark-chaos-"))
    result = run(setup, folder, lambda line: print(line, flush=True))
    print("\n".join(result.lines))
    if result.violations:
        print(f"what the processes said is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(_main())
