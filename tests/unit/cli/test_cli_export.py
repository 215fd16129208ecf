"""`mintmark export` and `mintmark import`: an installation goes on elsewhere."""

import errno
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.command_line import ADMIN, PASSWORD, Line
from tests.unit.cli.processes import free_port

from mintmark.authority.ports import AlreadyExistsError
from mintmark.storage import moving

FILE = "mintmark.export"


def set_database(folder: Path, name: str) -> None:
    """Let the settings name another database."""
    settings = folder / "mintmark.toml"
    text = settings.read_text()
    assert 'database = "mintmark.sqlite3"' in text
    settings.write_text(text.replace('database = "mintmark.sqlite3"', f'database = "{name}"'))


def test_what_was_exported_goes_on_elsewhere(line: Line, tmp_path: Path) -> None:
    issued = line.json("token", "issue", "first-client")["access_token"]
    revoked = line.json("token", "issue", "first-client")["access_token"]
    line("token", "revoke", typed=revoked)
    keys, events = line.json("keys", "list"), line.json("audit", "list")
    exported = line.json("export", FILE)
    set_database(tmp_path, "other.sqlite3")
    imported = line.json("import", FILE)
    assert exported["rows"] == imported["rows"]
    assert exported["rows"]["users"] == 1
    assert exported["rows"]["audit_events"] == len(events)
    assert exported["bytes"] == (tmp_path / FILE).stat().st_size
    assert imported["database"] == str(tmp_path / "other.sqlite3")
    assert line.json("keys", "list") == keys
    assert line.json("audit", "list") == events
    assert line.json("token", "inspect", typed=issued)["active"] is True
    assert line.json("token", "inspect", typed=revoked)["active"] is False
    assert ADMIN in line("user", "list").stdout


def test_people_are_told_what_matters(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(free_port())  # nobody answers there, unlike perhaps at 8080
    monkeypatch.setenv("MINTMARK_PORT", port)
    monkeypatch.setenv("MINTMARK_ISSUER", f"http://127.0.0.1:{port}")
    done = line("export", FILE)
    assert "signing_keys=4" in done.stdout
    assert "as safe as the database" in done.stderr
    assert "same master key, which is not in it" in done.stderr
    set_database(tmp_path, "other.sqlite3")
    assert "Never start the old installation again" in line("import", FILE).stderr
    line("doctor")


def test_the_file_is_for_its_owner_only_and_holds_no_secret(line: Line, tmp_path: Path) -> None:
    secret = line.json("client", "rotate-secret", "first-client")["client_secret"]
    line("export", FILE)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    text = (tmp_path / FILE).read_text()
    for clear in (secret, PASSWORD, (tmp_path / "mintmark.key").read_text().strip(), '\\"d\\"'):
        assert clear not in text
    assert "argon2id" in text


def test_nothing_is_overwritten(line: Line, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("mine")
    assert "is there already" in line.refused("export", FILE)
    assert (tmp_path / FILE).read_text() == "mine"
    line("export", "another.export")
    assert "cannot write" in line.refused("export", "nowhere/at.all")


def test_an_export_that_fails_leaves_no_file(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(moving, "export", full)
        why = line.refused("export", FILE)
    assert "No space left on device; nothing was kept" in why
    assert not (tmp_path / FILE).exists()
    with monkeypatch.context() as patched:
        patched.setattr(moving, "export", interrupted)
        assert "Aborted" in line("export", FILE, expect=1).stderr
    assert not (tmp_path / FILE).exists()
    line("export", FILE)


async def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_an_import_needs_an_empty_database(line: Line) -> None:
    line("export", FILE)
    before = line.json("audit", "list")
    why = line.refused("import", FILE)
    assert "is not empty: there are rows in server_secrets, signing_keys, clients" in why
    assert "nothing was changed" in why
    assert line.json("audit", "list") == before


def test_an_import_needs_the_master_key_of_the_export(line: Line, tmp_path: Path) -> None:
    line("export", FILE)
    set_database(tmp_path, "other.sqlite3")
    right = (tmp_path / "mintmark.key").read_text()
    (tmp_path / "mintmark.key").write_text("ab" * 32)
    why = line.refused("import", FILE)
    assert "the master key is not that of the exported installation" in why
    assert f"It is not in {FILE}" in why
    assert "Nothing was imported" in why
    assert not (tmp_path / "other.sqlite3").exists()
    (tmp_path / "mintmark.key").write_text(right)
    line("import", FILE)


def test_an_import_accepts_an_earlier_master_key(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line("export", FILE)
    set_database(tmp_path, "other.sqlite3")
    (tmp_path / "mintmark.key").rename(tmp_path / "old.key")
    (tmp_path / "mintmark.key").write_text("ab" * 32)
    (tmp_path / "mintmark.key").chmod(0o600)
    monkeypatch.setenv("MINTMARK_PREVIOUS_MASTER_KEYS_FILE", "old.key")
    line("import", FILE)
    assert line.json("keys", "rewrap") == {"rewrapped": 5}


def test_somebody_else_who_writes_meanwhile_is_named(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def race(*_: Any, **__: Any) -> None:
        raise AlreadyExistsError("server_secrets_pkey is violated")

    line("export", FILE)
    set_database(tmp_path, "other.sqlite3")
    with monkeypatch.context() as patched:
        patched.setattr(moving, "load", race)
        why = line.refused("import", FILE)
    assert "somebody else is writing to" in why
    assert "Nothing was imported" in why
    line("import", FILE)


def test_a_file_that_is_not_whole_is_refused(line: Line, tmp_path: Path) -> None:
    line("export", FILE)
    set_database(tmp_path, "other.sqlite3")
    content = (tmp_path / FILE).read_bytes()
    for wrong, reason in (
        (content[:-100], "ends before its last line"),
        (content.replace(b"ada@", b"eve@"), "changed or damaged"),
        (b"-- PostgreSQL database dump", "no export of mintmark"),
    ):
        (tmp_path / "wrong").write_bytes(wrong)
        why = line.refused("import", "wrong")
        assert "wrong cannot be imported: it" in why
        assert reason in why
        assert "Nothing was imported" in why
        assert not (tmp_path / "other.sqlite3").exists()
    assert "cannot read nowhere: No such file" in line.refused("import", "nowhere")
    line("import", FILE)


def test_another_issuer_is_warned_of(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line("export", FILE)
    set_database(tmp_path, "other.sqlite3")
    assert "Warning" not in line("import", FILE).stderr
    monkeypatch.setenv("MINTMARK_DATABASE", "third.sqlite3")
    monkeypatch.setenv("MINTMARK_ISSUER", "https://elsewhere.example")
    warning = line("import", FILE).stderr
    assert "the file is of http://127.0.0.1:8080, and the issuer here is https://elsewhere.example" in warning


def test_memory_cannot_be_moved(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line("export", FILE)
    monkeypatch.setenv("MINTMARK_DATABASE", "memory:")
    assert "only the serving process can see" in line.refused("export", "another.export")
    assert "ends with this command" in line.refused("import", FILE)


def test_a_missing_database_is_not_exported_as_an_empty_one(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.sqlite3").unlink()
    assert "there is no database" in line.refused("export", FILE)
    assert not (tmp_path / FILE).exists()


def test_progress_is_told_on_standard_error(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mintmark.cli.export._TELL_EVERY", 2)
    monkeypatch.setattr(moving, "BATCH", 2)
    monkeypatch.setattr("mintmark.storage.sqlite.moving.BATCH", 2)
    done = line("export", FILE, "--json")
    assert "  signing_keys: 2 rows\n  signing_keys: 4 rows\n" in done.stderr
    assert json.loads(done.stdout)["rows"]["signing_keys"] == 4
    monkeypatch.setenv("MINTMARK_DATABASE", "other.sqlite3")
    assert "  signing_keys: 4 rows\n" in line("import", FILE).stderr
