"""nginx on the server's core. Run as a child process, which becomes nginx once it has said the port it was told."""

import os
import shutil
import sys

from bench import machine


def become_nginx(configuration: str, port: str) -> None:
    """Run nginx with a configuration that keeps it in the foreground."""
    # Debian keeps servers where only root's PATH leads.
    program = shutil.which("nginx", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    if program is None:
        sys.exit("nginx is missing: apt-get install nginx-light")
    print(port, flush=True)
    os.execv(program, [program, "-c", configuration, "-e", f"{configuration}.log"])


if __name__ == "__main__":
    become_nginx(*machine.pin_as_told())
