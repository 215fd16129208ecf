"""nginx on the server's core. Run as a child process, which becomes nginx once it has said the port it was told."""

import os
import shutil

from bench import machine


def program() -> str | None:
    """Return where nginx is; ``None`` if it is missing."""
    # Debian keeps servers where only root's PATH leads.
    return shutil.which("nginx", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


def become_nginx(configuration: str, port: str) -> None:
    """Run nginx with a configuration that keeps it in the foreground."""
    found = program()
    assert found is not None
    print(port, flush=True)
    os.execv(found, [found, "-c", configuration, "-e", f"{configuration}.log"])


if __name__ == "__main__":
    become_nginx(*machine.pin_as_told())
