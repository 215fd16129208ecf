"""The documents made from the settings say what the settings are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mintmark.config import example_toml, load, reference
from mintmark.config.keys import KEYS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
KEY = bytes(range(32))


def test_the_document_is_current() -> None:
    message = "run: python -m mintmark.config > docs/configuration.md"
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), message


def test_the_module_prints_the_document() -> None:
    command = [sys.executable, "-m", "mintmark.config"]
    printed = subprocess.run(command, capture_output=True, check=True, env={"PYTHONUTF8": "1"})
    assert printed.stdout.decode() == reference()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS.keys())
def test_every_setting_is_described_in_one_line(key: object) -> None:
    rows = [
        line for line in reference().splitlines() if f"`{getattr(key, 'environment', '')}`" in line and line[0] == "|"
    ]
    assert len(rows) == 1
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert len(cells) == 5
    assert all(cells)


def test_the_defaults_in_the_document_are_accepted_and_change_nothing() -> None:
    lines = [f"{key.name} = {key.default}" for key in KEYS.values() if key.default and key.name != "database"]
    written = Path("all.toml")
    written.write_text('issuer = "https://a.example"\n' + "\n".join(lines), encoding="utf-8")
    assert load(environ={}, config_file=written) == load(environ={"MINTMARK_ISSUER": "https://a.example"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, where there is a master key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mintmark.key").write_text(KEY.hex() + "\n", encoding="utf-8")
    (tmp_path / "mintmark.key").chmod(0o600)
    return tmp_path


def test_the_example_is_accepted(folder: Path) -> None:
    Path("mintmark.toml").write_text(example_toml(issuer="http://127.0.0.1:9000", port=9000), encoding="utf-8")
    settings = load(environ={})
    assert (settings.issuer, settings.port, settings.host) == ("http://127.0.0.1:9000", 9000, "127.0.0.1")
    assert settings.database == str(folder / "mintmark.sqlite3")
    assert settings.required_master_key() == KEY


def test_the_example_is_accepted_with_every_option_switched_on() -> None:
    example = example_toml(issuer="http://127.0.0.1:8080")
    everything = re.sub(r"^# (?=\[|[a-z_]+ = )", "", example, flags=re.MULTILINE)
    assert everything.count(" = ") > example.count("\n# ") / 2
    Path("mintmark.toml").write_text(example, encoding="utf-8")
    Path("everything.toml").write_text(everything, encoding="utf-8")
    assert load(environ={}, config_file=Path("everything.toml")) == load(environ={})


@pytest.mark.parametrize("database", ['a "quoted" name', "back\\slash", "münt😀marke", "tab\tname"])
def test_the_example_quotes_what_it_is_given(database: str, folder: Path) -> None:
    text = example_toml(issuer="https://a.example", host="::1", database=database, master_key_file="mintmark.key")
    Path("mintmark.toml").write_text(text, encoding="utf-8")
    settings = load(environ={})
    assert (settings.database, settings.host) == (str(folder / database), "::1")
