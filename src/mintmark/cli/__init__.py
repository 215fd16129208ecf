"""The command line: one file per noun, each with a click command named ``command``; ``main`` finds them by name."""

import sys


def start() -> None:
    """Run the command ``mintmark``, or say what has to be installed for it."""
    try:
        from mintmark.cli.main import main

        main()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] == "mintmark":
            raise
        sys.exit(
            f"mintmark: this needs a package that is not installed ({missing.name}): the command line comes with the "
            "extra `server` (all of it) or `guard` (`mintmark guard` only)"
        )
