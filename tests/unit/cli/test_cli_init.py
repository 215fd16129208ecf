"""`mintmark init`: three files, nothing overwritten, nothing left behind, no secret shown that need not be."""

import os
import stat
from pathlib import Path

import pytest
from tests.unit.cli.command_line import ADMIN, PASSWORD, Line

from mintmark.cli import founding
from mintmark.config import load

INIT = ("init", "--admin-email", ADMIN, "--password-stdin")
FILES = {"mintmark.toml", "mintmark.key", "mintmark.sqlite3"}


def test_it_makes_settings_key_and_database_and_says_what_comes_next(bare: Line, tmp_path: Path) -> None:
    result = bare(*INIT, typed=PASSWORD + "\n")
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert "mintmark serve\n" in result.stdout
    assert "Back up the master key" in result.stdout
    assert "a service, for scripts and programs" in result.stdout
    assert "role admin, for the coming admin API and console" in result.stdout
    assert "mintmark client create my-app --redirect-uri http" in result.stdout
    assert "http://127.0.0.1:8080/login\n" in result.stdout
    assert "mintmark doctor\n" in result.stdout
    settings = load(environ={})
    assert settings.issuer == "http://127.0.0.1:8080"
    assert settings.database == str(tmp_path / "mintmark.sqlite3")


def test_key_and_database_are_for_their_owner_alone_and_no_secret_is_shown(bare: Line, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        result = bare(*INIT, typed=PASSWORD + "\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mintmark.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "mintmark.sqlite3").stat().st_mode) == 0o600
    key = (tmp_path / "mintmark.key").read_text().strip()
    assert len(key) == 64
    for secret in (PASSWORD, key):
        assert secret not in result.output
        assert secret not in (tmp_path / "mintmark.toml").read_text()
        assert secret.encode() not in (tmp_path / "mintmark.sqlite3").read_bytes()


def test_json_says_all_of_it(bare: Line, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "place"
    made = bare.json(
        *INIT, "--dir", str(folder), "--issuer", "https://auth.example.com", "--client-id", "app", typed=PASSWORD + "\n"
    )
    assert made.keys() == {"issuer", "settings", "master_key_file", "database", "admin", "client"}
    assert made["issuer"] == "https://auth.example.com"
    assert made["settings"] == str(folder / "mintmark.toml")
    assert made["admin"]["email"] == ADMIN
    assert made["admin"]["roles"] == ["admin"]
    assert made["client"]["client_id"] == "app"
    assert made["client"]["client_secret"].startswith("mms_")
    config = ("--config", made["settings"])
    assert bare.json("user", "list", *config)[0]["subject"] == made["admin"]["subject"]
    assert bare.json("role", "show", "admin", *config)["resource"] == "https://auth.example.com/api/v2/admin"
    assert bare.json("client", "show", "app", *config)["grant_types"] == ["client_credentials"]


def test_a_redirect_uri_makes_the_first_client_a_web_application(bare: Line) -> None:
    result = bare(*INIT, "--client-id", "app", "--redirect-uri", "https://app.example/cb", typed=PASSWORD + "\n")
    assert "a web application that signs people in; redirect URI https://app.example/cb" in result.stdout
    assert "mintmark client create" not in result.stdout
    client = bare.json("client", "show", "app")
    assert client["grant_types"] == ["authorization_code", "refresh_token"]
    assert client["redirect_uris"] == ["https://app.example/cb"]
    assert client["scope"] == ["openid", "profile", "email", "offline_access"]


def test_the_password_is_asked_for_twice_and_hidden(bare: Line) -> None:
    result = bare("init", typed=f"{ADMIN}\n{PASSWORD}\n{PASSWORD}\n")
    assert PASSWORD not in result.output
    assert "Email of the first administrator" in result.stderr
    assert "Repeat for confirmation" in result.stderr


def test_whoever_types_a_bad_password_may_try_again(bare: Line, tmp_path: Path) -> None:
    bad = "short\nshort\n"
    result = bare("init", "--admin-email", ADMIN, typed=f"{bad * 2}{PASSWORD}\n{PASSWORD}\n")
    assert "(at least 8 characters)" in result.stderr
    assert result.stderr.count("Use at least 8 characters.") == 2
    other = ("--dir", str(tmp_path / "other"))
    assert "Error: Use at least 8" in bare.refused("init", "--admin-email", ADMIN, *other, typed=bad * 3)
    assert not (tmp_path / "other").exists()


def test_nobody_there_to_give_an_email(bare: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    why = bare.refused("init", expect=2)
    assert "give --admin-email" in why
    assert "Aborted" not in why


@pytest.mark.parametrize("name", ["mintmark.toml", "mintmark.key", "mintmark.sqlite3", "mintmark.sqlite3-wal"])
def test_nothing_is_overwritten(bare: Line, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    why = bare.refused(*INIT, typed=PASSWORD + "\n")
    assert f"has {name} already" in why
    assert "--dir" in why
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "precious"}


@pytest.mark.parametrize(
    ("password", "why"), [("short", "at least 8"), ("password1234", "very common"), ("", "expected on standard input")]
)
def test_a_bad_password_leaves_nothing_behind(bare: Line, tmp_path: Path, password: str, why: str) -> None:
    assert why in bare.refused(*INIT, typed=password + "\n")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_on_the_way_leaves_nothing_behind(
    bare: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the power went")

    monkeypatch.setattr(founding, "found", fail)
    with pytest.raises(RuntimeError, match="the power went"):
        bare(*INIT, typed=PASSWORD + "\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--client-id", "usr_x"), "must not begin with usr_"),
        (("--redirect-uri", "ftp://app.example"), "it must use https"),
    ],
)
def test_a_bad_client_leaves_nothing_behind(bare: Line, tmp_path: Path, args: tuple[str, ...], why: str) -> None:
    assert why in bare.refused(*INIT, *args, typed=PASSWORD + "\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("issuer", ["http://auth.example.com", "https://auth.example.com/", "auth.example.com"])
def test_a_bad_issuer_is_a_matter_of_usage(bare: Line, tmp_path: Path, issuer: str) -> None:
    assert "--issuer must" in bare.refused(*INIT, "--issuer", issuer, typed=PASSWORD + "\n", expect=2)
    assert list(tmp_path.iterdir()) == []


def test_a_password_from_standard_input_needs_the_email_as_well(bare: Line) -> None:
    assert "needs --admin-email" in bare.refused("init", "--password-stdin", typed=PASSWORD + "\n", expect=2)


def test_a_folder_that_cannot_be_made_is_named(bare: Line, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    why = bare.refused(*INIT, "--dir", str(tmp_path / "file" / "below"), typed=PASSWORD + "\n")
    assert "use another folder" in why


def test_settings_of_another_installation_in_the_environment_do_not_matter(
    bare: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINTMARK_DATABASE", str(tmp_path / "other.sqlite3"))
    bare(*INIT, typed=PASSWORD + "\n")
    assert {path.name for path in tmp_path.iterdir()} == FILES
