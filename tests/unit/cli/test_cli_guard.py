"""`mintmark guard` as a command, without its gateway."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.command_line import Line

SETTINGS = """
issuer = "https://auth.example"
audience = "https://api.example"
introspect = "when_needed"

[[route]]
path = "/health"
public = true
"""
NOT_NEEDED = ["argon2", "jinja2", "pydantic", "pydantic_settings", "starlette", "structlog", "zxcvbn", "sqlite3"]
SERVER = ["asgi", "authority", "bootstrap", "config", "pages", "storage", "system", "web"]
LOADED_BY_A_GUARD = """
import sys
from mintmark.cli import guard, listening
from mintmark.verifier.guard import Guard
sys.argv = ["mintmark", "guard", "--check"]
from mintmark.cli.main import main
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
print(*sys.modules)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the settings file, in the current folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "guard.toml"
    file.write_text(SETTINGS)
    return file


def test_it_looks_at_the_settings_and_goes(bare: Line, settings: Path, tmp_path: Path) -> None:
    assert bare("guard", "--check").stdout == "guard.toml is in order.\n"
    settings.rename(tmp_path / "other.toml")
    assert "other.toml is in order" in bare("guard", "--check", "--config", "other.toml").stdout
    assert "other.toml is in order" in bare("--config", "other.toml", "guard", "--check").stdout


def test_settings_that_are_wrong_are_all_listed(bare: Line, settings: Path) -> None:
    settings.write_text(SETTINGS + 'scopes = "x"\n[[route]]\npath = "x"\n')
    for args in ((), ("--check",)):
        why = bare.refused("guard", *args, expect=2)
        assert "guard.toml cannot be used: - route 1 (/health): unknown key scopes; did you mean scope? - " in why
        assert " - route 2 (x): path: not a path" in why


def test_settings_that_are_not_there(bare: Line, settings: Path) -> None:
    settings.unlink()
    assert "guard.toml cannot be read: No such file" in bare.refused("guard", expect=2)


def test_a_port_that_is_taken(bare: Line, settings: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        why = bare.refused("guard", "--port", str(taken.getsockname()[1]))
    assert "is taken" in why
    assert "`mintmark guard --port " in why


def test_it_loads_nothing_of_the_server(settings: Path) -> None:
    command = [sys.executable, "-c", LOADED_BY_A_GUARD]
    shown = subprocess.run(command, cwd=settings.parent, capture_output=True, text=True, check=True).stdout
    loaded = set(shown.splitlines()[-1].split())
    assert {"mintmark.verifier.guard.app", "uvicorn", "click"} <= loaded
    assert loaded & {*NOT_NEEDED, *(f"mintmark.{name}" for name in SERVER)} == set()
