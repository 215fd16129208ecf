"""The pytest plugin: there without being asked for, nothing until it is, and without the server's dependencies."""

import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from tests.unit.test_house import SERVER_DEPENDENCIES, import_alone

from mintmark.testing import keys

USES = """
def test_uses(mint):
    assert mint.verifier().verify(mint.token(scope="orders:read")).require(scope="orders:read")

def test_has_its_own(mint, request):
    assert mint.now()
"""

LOADS_NOTHING = """
import sys

def test_loads_nothing():
    loaded = [name for name in sys.modules if name.startswith("mintmark")]
    assert sorted(loaded) == {expected}
    assert "cryptography" not in sys.modules
    assert "msgspec" not in sys.modules
"""


def clean_environment() -> dict[str, str]:
    """The environment without what tells a pytest that it runs inside another, or is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}


# Of the plugins that are installed here: not those that load more than a test of ours is about.
WITHOUT = [word for name in ("cacheprovider", "xdist", "valkey") for word in ("-p", f"no:{name}")]


def run(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one file in a project of its own; what this run measures stays out of it."""
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", *WITHOUT, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=clean_environment())


@pytest.mark.slow
def test_the_fixture_is_there_by_itself(tmp_path: Path) -> None:
    outcome = run(tmp_path, USES)
    assert outcome.returncode == 0, outcome.stdout
    assert "2 passed" in outcome.stdout


@pytest.mark.slow
def test_it_can_be_switched_off(tmp_path: Path) -> None:
    outcome = run(tmp_path, USES, "-p", "no:mintmark")
    assert "fixture 'mint' not found" in outcome.stdout
    assert run(tmp_path, LOADS_NOTHING.format(expected=[]), "-p", "no:mintmark").returncode == 0


@pytest.mark.slow
def test_who_does_not_use_it_loads_nothing(tmp_path: Path) -> None:
    outcome = run(tmp_path, LOADS_NOTHING.format(expected=["mintmark", "mintmark.testing", "mintmark.testing.plugin"]))
    assert outcome.returncode == 0, outcome.stdout


def test_the_server_s_dependencies_are_not_needed() -> None:
    outcome = import_alone(SERVER_DEPENDENCIES, "mintmark.testing")
    assert outcome.returncode == 0, outcome.stderr


def test_there_is_nothing_else_in_the_package() -> None:
    import mintmark.testing

    assert mintmark.testing.Mint.__name__ == "Mint"
    with pytest.raises(AttributeError, match="Coin"):
        mintmark.testing.Coin  # noqa: B018


def test_keys_may_come_back_in_the_middle_of_lending() -> None:
    """Garbage is collected whenever it pleases: what gives keys back must not wait for a lock that is held here."""
    pool = keys._Pool()
    lent = {"k": pool.lend()}

    class Free(deque[Any]):
        def pop(self, *_: Any) -> Any:
            pool.take_back(lent)
            return super().pop()

    pool._free = Free()
    assert pool.lend() is not None
    assert not lent
