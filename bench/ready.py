"""How long `mintmark dev` takes until it is ready, from the start of the process."""

import os
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

_PATIENCE: Final = 30.0
_COMMAND: Final = [sys.executable, "-c", "from mintmark.cli.main import main; main()", "dev"]


def seconds_until_ready(directory: Path) -> float | None:
    """Return the seconds until ``/readyz`` answers 200 in an empty directory; ``None`` if it never does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = directory / "dev"
    place.mkdir()
    environment = {**os.environ, "MINTMARK_PORT": str(port)}
    start = time.perf_counter()
    with subprocess.Popen(
        _COMMAND, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while process.poll() is None and time.perf_counter() - start < _PATIENCE:
                if _is_ready(port):
                    return time.perf_counter() - start
                time.sleep(0.01)
            return None
        finally:
            process.terminate()


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
