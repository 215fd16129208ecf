"""Where settings come from, which source wins, and what is said about those that cannot be used."""

import os
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from mintmark.config import ConfigError, Settings, load

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
ISSUER = {"MINTMARK_ISSUER": "https://auth.example.com"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def toml(text: str, path: Path = Path("mintmark.toml")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('issuer = "https://auth.example.com"\n' + text, encoding="utf-8")
    return path


def secret(text: str | bytes, path: Path = Path("mintmark.key"), mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def problems(environ: Mapping[str, str] | None = None, config_file: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ=environ or {}, config_file=config_file)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def master_key(settings: Settings) -> bytes:
    return settings.required_master_key()


# Sources and their order


def test_without_a_file_there_are_environment_and_defaults() -> None:
    settings = load(environ=ISSUER | {"MINTMARK_PORT": "9000", "PATH": "/bin", "OTHER_PORT": "1"})
    assert (settings.port, settings.host) == (9000, "127.0.0.1")


def test_without_environ_the_environment_of_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MINTMARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MINTMARK_ISSUER", "https://auth.example.com")
    monkeypatch.setenv("MINTMARK_PORT", "9000")
    assert load().port == 9000


def test_the_environment_beats_the_file_and_the_file_beats_the_defaults() -> None:
    toml('port = 9000\nhost = "::1"\n')
    settings = load(environ={"MINTMARK_PORT": "9001"})
    assert (settings.port, settings.host, settings.log_level) == (9001, "::1", "info")


def test_a_table_of_the_file_and_one_of_the_environment_are_merged() -> None:
    toml("[lifetimes.public]\nrefresh_grace = 1\naccess_token_lifetime = 100\n")
    settings = load(environ={"MINTMARK_LIFETIMES__PUBLIC__REFRESH_GRACE": "2"})
    lifetimes = settings.policy().lifetimes["public"]
    assert (lifetimes.refresh_grace, lifetimes.access_token_lifetime, lifetimes.refresh_token_lifetime) == (
        2,
        100,
        2592000,
    )


def test_the_argument_beats_the_variable_and_the_variable_beats_the_working_directory() -> None:
    toml("port = 1\n")
    second, third = toml("port = 2\n", Path("b/second.toml")), toml("port = 3\n", Path("c/third.toml"))
    assert load(environ={}).port == 1
    assert load(environ={"MINTMARK_CONFIG": str(second)}).port == 2
    assert load(environ={"MINTMARK_CONFIG": str(second)}, config_file=third).port == 3


def test_a_file_that_was_named_must_exist_and_one_problem_is_enough() -> None:
    assert problems(config_file=Path("a.toml")) == [
        "a.toml: cannot be read: No such file or directory; correct --config or MINTMARK_CONFIG"
    ]
    assert problems({"MINTMARK_CONFIG": "b.toml"})[0].startswith("b.toml: cannot be read")


@pytest.mark.parametrize("content", [b"port = \n", b"port = 1\nport = 2\n", b"\xff"])
def test_a_file_must_be_toml(content: bytes) -> None:
    Path("mintmark.toml").write_bytes(content)
    found = problems({"MINTMARK_PRT": "1", "MINTMARK_HOST": ""})
    assert [line.split(":")[0] for line in found] == ["MINTMARK_PRT", "mintmark.toml", "MINTMARK_HOST"]


def test_lists_are_arrays_in_the_file() -> None:
    toml('signing_algorithms = ["PS256", "EdDSA"]\n')
    assert load(environ={}).signing_algorithms == ("PS256", "EdDSA")


# Paths


def test_paths_in_the_file_start_from_its_folder(folder: Path) -> None:
    file = toml('database = "data/a.sqlite3"\nmaster_key_file = "keys/a.key"\n', Path("etc/mintmark.toml"))
    secret(KEY.hex(), Path("etc/keys/a.key"))
    settings = load(environ={}, config_file=file)
    assert settings.database == str(folder / "etc/data/a.sqlite3")
    assert master_key(settings) == KEY


@pytest.mark.parametrize("database", ["/var/lib/a.sqlite3", "memory:", "postgresql://me@db/a"])
def test_an_absolute_path_and_what_is_no_file_stay_what_they_are(database: str) -> None:
    assert load(environ={}, config_file=toml(f'database = "{database}"\n', Path("etc/a.toml"))).database == database


def test_paths_in_the_environment_start_from_the_working_directory() -> None:
    file = toml('database = "a.sqlite3"\n', Path("etc/mintmark.toml"))
    secret(KEY.hex(), Path("b.key"))
    environ = {"MINTMARK_DATABASE": "b.sqlite3", "MINTMARK_MASTER_KEY_FILE": "b.key"}
    settings = load(environ=environ, config_file=file)
    assert (settings.database, master_key(settings)) == ("b.sqlite3", KEY)


# Secrets


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_file_may_end_with_a_newline(end: str) -> None:
    secret(KEY.hex() + end)
    assert master_key(load(environ=ISSUER | {"MINTMARK_MASTER_KEY_FILE": "mintmark.key"})) == KEY


def test_the_environment_beats_the_secret_file_that_the_toml_names() -> None:
    toml('master_key_file = "missing.key"\nprevious_master_keys_file = "also-missing.keys"\n')
    secret(KEY.hex())
    assert (
        master_key(load(environ={"MINTMARK_MASTER_KEY": OTHER_KEY.hex(), "MINTMARK_PREVIOUS_MASTER_KEYS": ""}))
        == OTHER_KEY
    )
    environ = {"MINTMARK_MASTER_KEY_FILE": "mintmark.key", "MINTMARK_PREVIOUS_MASTER_KEYS": ""}
    assert master_key(load(environ=environ)) == KEY


def test_a_secret_is_given_in_one_way() -> None:
    secret(KEY.hex())
    environ = {"MINTMARK_MASTER_KEY": KEY.hex(), "MINTMARK_MASTER_KEY_FILE": "mintmark.key"}
    assert problems(ISSUER | environ) == ["MINTMARK_MASTER_KEY_FILE: give either it or MINTMARK_MASTER_KEY, not both"]


def test_previous_master_keys_stand_one_per_line() -> None:
    secret(f"{KEY.hex()}\n\n{OTHER_KEY.hex()}\n", Path("old.keys"))
    toml('previous_master_keys_file = "old.keys"\n')
    found = [key.get_secret_value() for key in load(environ={}).previous_master_keys]
    assert found == [KEY, OTHER_KEY]


@pytest.mark.parametrize("in_toml", [True, False])
def test_a_secret_file_must_be_readable(in_toml: bool, folder: Path) -> None:
    Path("folder.key").mkdir()
    for name, reason in {"missing.key": "No such file", "folder.key": "Is a directory"}.items():
        if in_toml:
            toml(f'master_key_file = "{name}"\n')
            (found,) = problems()
            assert found.startswith(f"master_key_file in mintmark.toml ({folder / name}): cannot be read: {reason}")
        else:
            (found,) = problems(ISSUER | {"MINTMARK_MASTER_KEY_FILE": name})
            assert found.startswith(f"MINTMARK_MASTER_KEY_FILE ({name}): cannot be read: {reason}")


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize(("mode", "is_sound"), [(0o400, True), (0o640, True), (0o644, False), (0o602, False)])
def test_a_secret_file_is_not_for_everybody(mode: int, is_sound: bool) -> None:
    secret(KEY.hex(), mode=mode)
    environ = ISSUER | {"MINTMARK_MASTER_KEY_FILE": "mintmark.key"}
    if is_sound:
        assert master_key(load(environ=environ)) == KEY
    else:
        (found,) = problems(environ)
        assert found.startswith("MINTMARK_MASTER_KEY_FILE (mintmark.key): everybody on this machine can")
        assert "chmod 600 mintmark.key" in found


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"\xff" * 32, "must be a text file"),
        (b"a" * 65537, "is too large"),
        (b"hunter2", "must be 32 bytes"),
        (KEY.hex().encode() + b"\n\n ", "must be 32 bytes"),
    ],
)
def test_a_secret_file_holds_a_key(content: bytes, advice: str) -> None:
    secret(content)
    (found,) = problems(ISSUER | {"MINTMARK_MASTER_KEY_FILE": "mintmark.key"})
    assert found.startswith(f"MINTMARK_MASTER_KEY_FILE (mintmark.key): {advice}")


@pytest.mark.parametrize("value", ["5", "true", '"a\\u0000b"'])
def test_a_secret_file_has_a_name(value: str) -> None:
    toml(f"master_key_file = {value}\n")
    (found,) = problems()
    assert found.startswith("master_key_file in ")
    assert "must be" in found


@pytest.mark.parametrize("name", ["master_key", "previous_master_keys"])
def test_a_secret_does_not_stand_in_the_toml(name: str) -> None:
    toml(f'{name} = "{KEY.hex()}"\n')
    (found,) = problems()
    assert found.startswith(f"{name} in mintmark.toml: a secret must not stand in this file")
    assert f"{name}_file" in found
    assert KEY.hex() not in found


def test_no_error_shows_a_secret_nor_leads_to_one() -> None:
    value = "hunter2-" + KEY.hex()
    toml(f'master_key = "{value}"\nmaster_kee = "{value}"\nport = "{value}"\nissuer_ = "{value}"\n')
    environ = {
        "MINTMARK_MASTER_KEY": value,
        "MINTMARK_PREVIOUS_MASTER_KEYS": value,
        "MINTMARK_MASTERKEY": value,
        "MINTMARK_DATABASE": f"postgresql://me:{value}@db",
        "MINTMARK_ISSUER": f"https://me:{value}@auth.example.com",
        "MINTMARK_LOG_LEVEL": value,
    }
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    assert len(caught.value.problems) == 10
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert caught.value.__context__ is None


# What is not a setting


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("MINTMARK_PRT", "MINTMARK_PORT"),
        ("MINTMARK_Port", "MINTMARK_PORT"),
        ("mintmark_port", "MINTMARK_PORT"),
        ("MINTMARK_MASTERKEY", "MINTMARK_MASTER_KEY"),
        ("MINTMARK_CONFG", "MINTMARK_CONFIG"),
        ("MINTMARK_LIFETIMES__PUBLIC__ACCESS_LIFETIME", "MINTMARK_LIFETIMES__PUBLIC__ACCESS_TOKEN_LIFETIME"),
        ("MINTMARK_LIFETIMES__PUBLC__REFRESH_GRACE", "MINTMARK_LIFETIMES__PUBLIC__REFRESH_GRACE"),
    ],
)
def test_an_unknown_variable_stops_the_start_and_the_nearest_is_named(variable: str, nearest: str) -> None:
    assert problems(ISSUER | {variable: "1"}) == [f"{variable}: there is no such setting; did you mean {nearest}?"]


def test_where_nothing_is_near_nothing_is_suggested() -> None:
    (found,) = problems(ISSUER | {"MINTMARK_ZZZZ": "1"})
    assert found == "MINTMARK_ZZZZ: there is no such setting; remove it (docs/configuration.md lists all)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prt = 1", "prt in mintmark.toml: there is no such setting; did you mean port?"),
        (
            "lifetimes.public.refresh_grce = 1",
            "lifetimes.public.refresh_grce in mintmark.toml: there is no such setting; did you mean lifetimes.public.refresh_grace?",
        ),
        (
            "[lifetimes.publc]\nrefresh_grace = 1",
            "lifetimes.publc in mintmark.toml: there is no such setting; did you mean lifetimes.public.refresh_grace?",
        ),
        ("[databse]\npath = 1", "databse in mintmark.toml: there is no such setting; did you mean database?"),
        (
            '"lifetimes.public.refresh_grace" = 1',
            '"lifetimes.public.refresh_grace" in mintmark.toml: there is no such setting; write a dotted key without quotes',
        ),
        (
            "lifetimes = 1",
            "lifetimes in mintmark.toml: must be a table, with keys such as lifetimes.confidential.access_token_lifetime",
        ),
        (
            "lifetimes.public = 1",
            "lifetimes.public in mintmark.toml: must be a table, with keys such as lifetimes.public.access_token_lifetime",
        ),
        (
            "config = 1",
            "config in mintmark.toml: there is no such setting; remove it (docs/configuration.md lists all)",
        ),
    ],
)
def test_an_unknown_key_stops_the_start_at_any_depth(text: str, expected: str) -> None:
    toml(text)
    assert problems() == [expected]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MINTMARK_SERVICE_HOST", "10.0.0.1"),
        ("MINTMARK_SERVICE_PORT_HTTP", "8080"),
        ("MINTMARK_PORT", "tcp://10.0.0.1:8080"),
        ("MINTMARK_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("MINTMARK_REDIS_PORT", "tcp://10.0.0.1:6379"),
    ],
)
def test_what_kubernetes_sets_is_named_as_such(variable: str, value: str) -> None:
    (found,) = problems(ISSUER | {variable: value})
    assert found.startswith(f"{variable}: set by Kubernetes for a Service; put `enableServiceLinks: false`")


# Problems


def test_all_problems_are_said_at_once_in_the_words_of_the_user() -> None:
    file = toml('port = 0\nhots = "a"\nhost = 5\ncleanup_batch = true\n[lifetimes.public]\nrefresh_grace = -1\n')
    environ = {
        "MINTMARK_CODE_LIFETIME": "601",
        "MINTMARK_SESSION_LIFETIME": "3600",
        "MINTMARK_LIFETIMES__PUBLIC__ACCESS_TOKEN_LIFETIME": "x",
        "MINTMARK_LIFETIMES__PUBLIC__REFRESH_TOKEN_LIFETIME": "60",
        "MINTMARK_FOO": "1",
    }
    assert sorted(line.split(":")[0] for line in problems(environ, file)) == [
        "MINTMARK_CODE_LIFETIME",
        "MINTMARK_FOO",
        "MINTMARK_LIFETIMES__PUBLIC__ACCESS_TOKEN_LIFETIME",
        "MINTMARK_LIFETIMES__PUBLIC__REFRESH_IDLE_LIFETIME (or lifetimes.public.refresh_idle_lifetime in mintmark.toml), not set",
        "MINTMARK_SESSION_IDLE_LIFETIME (or session_idle_lifetime in mintmark.toml), not set",
        "cleanup_batch in mintmark.toml",
        "host in mintmark.toml",
        "hots in mintmark.toml",
        "lifetimes.public.refresh_grace in mintmark.toml",
        "port in mintmark.toml",
    ]


def test_a_missing_setting_is_named_in_both_ways() -> None:
    (found,) = problems()
    assert found.startswith("MINTMARK_ISSUER (or issuer in mintmark.toml), not set: is required")


def test_the_key_of_the_file_is_blamed_only_if_the_environment_did_not_replace_it() -> None:
    file = toml("port = 0\n", Path("etc/a.toml"))
    assert problems(config_file=file)[0] == "port in etc/a.toml: must be 1 to 65535, not 0"
    assert problems({"MINTMARK_PORT": "0"}, file)[0] == "MINTMARK_PORT: must be 1 to 65535, not 0"
    assert load(environ={"MINTMARK_PORT": "1"}, config_file=file).port == 1
