"""A command line in a folder of its own, where `mintmark init` has been."""

import os
import shutil
from pathlib import Path

import pytest
from tests.support.world import FixedClock
from tests.unit.cli.command_line import ADMIN, PASSWORD, START, Line

from mintmark.bootstrap import World
from mintmark.cli import opening
from mintmark.system.clock import SystemRandomness


def _line(monkeypatch: pytest.MonkeyPatch, folder: Path, clock: FixedClock) -> Line:
    for name in [name for name in os.environ if name.startswith("MINTMARK_")]:
        monkeypatch.delenv(name)
    world = World(clock, SystemRandomness(), has_cheap_passwords=True)
    monkeypatch.setattr(opening, "real_world", lambda: world)
    monkeypatch.chdir(folder)
    return Line(clock)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Return a command line in an empty folder."""
    return _line(monkeypatch, tmp_path, FixedClock(START))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder made by `mintmark init`; key generation takes a while, so it is made once and copied."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as monkeypatch:
        line = _line(monkeypatch, folder, FixedClock(START))
        line("init", "--admin-email", ADMIN, "--password-stdin", typed=PASSWORD + "\n")
    return folder


@pytest.fixture
def line(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Return a command line in a folder where `mintmark init` has been."""
    for file in template.iterdir():
        shutil.copy2(file, tmp_path)
    return _line(monkeypatch, tmp_path, FixedClock(START + 60))
