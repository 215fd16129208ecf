"""Versions of mintmark side by side: copies of the present one with a further migration, and nodes that run them."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.unit.cli.processes import Process, clean_environment

SOURCE = Path(__file__).resolve().parents[2] / "src" / "mintmark"
DATABASES = ("postgresql", "sqlite")


@dataclass(frozen=True)
class Version:
    """A mintmark.

    Attributes:
        name: For messages.
        package: Its package.
    """

    name: str
    package: Path

    def schema(self, database: str = "postgresql") -> int:
        """Return the number of its last migration."""
        return len(list((self.package / "storage" / "migrations" / database).glob("*.sql")))

    def copy(self, folder: Path, name: str, script: str) -> "Version":
        """Return a later version: this one with one migration more (PostgreSQL only)."""
        package = folder / name / "mintmark"
        shutil.copytree(self.package, package, ignore=shutil.ignore_patterns("__pycache__"))
        number = self.schema() + 1
        (package / "storage" / "migrations" / "postgresql" / f"{number:04}_{name}.sql").write_text(script)
        return Version(name, package)

    def replace(self, module: str, old: str, new: str) -> None:
        """Change the code of a copy."""
        path = self.package / module
        text = path.read_text()
        assert old in text, f"{module} has no {old!r} any more"
        path.write_text(text.replace(old, new))

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment() | {"PYTHONPATH": str(self.package.parent), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *args: str, cwd: Path, expect: int = 0) -> str:
        """Run a command and insist on its exit code; return all that it said."""
        done = subprocess.run(
            [sys.executable, "-m", "mintmark.cli.main", *args],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == expect, f"{self.name} {args}: {done.returncode}\n{done.stdout}"
        return done.stdout


class Node:
    """A place where one version after the other serves: one port, one settings file.

    Args:
        folder: Takes its files; made if it is missing.
        port: Where it listens.
        settings: Lines of ``mintmark.toml``, further ones.
    """

    def __init__(self, folder: Path, port: int, settings: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "mintmark.toml").write_text(f"port = {port}\n{settings}")
        self.folder = folder
        self.address = f"http://127.0.0.1:{port}"

    @contextmanager
    def serving(self, version: Version) -> Iterator[Process]:
        """Serve as ``version`` while the context lasts; it is ready."""
        command = [sys.executable, "-m", "mintmark.cli.main", "serve"]
        errors = self.folder / f"{version.name}.txt"
        with (
            errors.open("a") as output,
            subprocess.Popen(
                command,
                cwd=self.folder,
                env=version.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            ) as process,
        ):
            try:
                node = Process(process, errors)
                node.read_until("mintmark is ready")
                yield node
            finally:
                process.kill()


def drained(process: Process) -> None:
    """Stop a node as an operator does, and insist that it ends well."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, process.errors()
    assert "Traceback" not in process.errors()
