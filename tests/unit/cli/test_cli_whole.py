"""What holds for every command, and the edges of the command line as a whole."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.unit.cli.command_line import ADMIN, Line, every_command

from mintmark import __version__
from mintmark.cli import output
from mintmark.cli.main import NAMES, SECTIONS, cli
from mintmark.cli.reference import reference

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = every_command()
LEAVES = [(name, command) for name, command in COMMANDS if not isinstance(command, click.Group)]
WITHOUT_JSON = {"mintmark dev", "mintmark serve", "mintmark guard", "mintmark completion", "mintmark keys export"}
DESTRUCTIVE = {"remove", "disable", "sign-out", "retire"}


def test_the_document_is_current() -> None:
    message = "run: python -m mintmark.cli.reference > docs/cli.md"
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), message


def test_the_module_prints_the_document() -> None:
    command = [sys.executable, "-m", "mintmark.cli.reference"]
    printed = subprocess.run(command, capture_output=True, check=True, env={"PYTHONUTF8": "1"})
    assert printed.stdout.decode() == reference()


def test_the_first_help_says_what_the_commands_say(bare: Line) -> None:
    texts = {name: text for commands in SECTIONS.values() for name, text in commands.items()}
    for name in NAMES:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert (command.help or "").splitlines()[0] == texts[name]
    shown = bare("--help").stdout
    assert all(name in shown for name in NAMES)


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_every_command_has_help_with_an_example(bare: Line, name: str, command: click.Command) -> None:
    shown = bare(*name.split()[1:], "--help").stdout
    assert f"  {name}" in shown.partition("Example:\n")[2] or "mintmark keys rewrap" in shown
    assert (command.help or "").strip()


@pytest.mark.parametrize(("name", "command"), LEAVES, ids=[name for name, _ in LEAVES])
def test_every_command_speaks_json_and_takes_no_secret_as_an_argument(name: str, command: click.Command) -> None:
    options = {option: parameter for parameter in command.params for option in parameter.opts}
    assert ("--json" in options) == (name not in WITHOUT_JSON)
    for option, parameter in options.items():
        if any(word in option for word in ("password", "secret")) or option in {"token", "--token", "--master-key"}:
            assert isinstance(parameter, click.Option)
            assert parameter.is_flag
    assert ("--yes" in options) == (name.rsplit(maxsplit=1)[-1] in DESTRUCTIVE)


def test_unknown_commands_and_options_are_wrong_usage(bare: Line) -> None:
    assert "did you mean doctor?" in bare.refused("docter", expect=2)
    assert "`mintmark --help` lists them" in bare.refused("xyzzy", expect=2)
    assert "there is no command 'shwo'; did you mean show?" in bare.refused("client", "shwo", expect=2)
    assert "`mintmark client --help` lists them" in bare.refused("client", "xyzzy", expect=2)
    assert "did you mean audit?" in bare.refused("auidt", expect=2)
    assert "--json" in bare.refused("client", "list", "--jsn", expect=2)


@pytest.mark.parametrize(
    ("args", "expect", "why"),
    [
        (("client", "show", "nobody", "--json"), 1, "there is no client 'nobody'"),
        (("client", "show", "--json"), 2, "Missing argument"),
        (("client", "shwo", "--json"), 2, "did you mean show?"),
        (("--nonsense", "client", "list", "--json"), 2, "--nonsense"),
        (("client", "list", "--json", "--config", "nowhere.toml"), 2, "There is a problem with the settings"),
    ],
)
def test_a_refusal_is_for_machines_too(line: Line, args: tuple[str, ...], expect: int, why: str) -> None:
    result = line(*args, expect=expect)
    refusal = json.loads(result.stdout)
    assert refusal.keys() == {"error"}
    assert why in refusal["error"]
    assert why in result.stderr


def test_version(bare: Line) -> None:
    assert bare("--version").stdout == f"mintmark {__version__}\n"


@pytest.mark.parametrize(
    "words", [("client", "list"), ("user", "list"), ("keys", "list"), ("token", "inspect"), ("serve",)]
)
def test_settings_that_are_wrong_are_all_listed(
    line: Line, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MINTMARK_PORT", "0")
    monkeypatch.setenv("MINTMARK_ISSUER", "http://auth.example.com")
    why = line.refused(*words, expect=2)
    assert "There are 2 problems with the settings" in why
    assert "MINTMARK_PORT" in why
    assert "MINTMARK_ISSUER" in why
    assert "mintmark doctor" in why


def test_a_master_key_is_needed(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.toml").write_text('issuer = "https://auth.example.com"\n')
    assert "`mintmark init` makes a key" in line.refused("client", "list", expect=2)


def test_no_database_is_made_by_accident(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.sqlite3").unlink()
    assert "restore it from a backup; to start over" in line.refused("client", "list")
    assert not (tmp_path / "mintmark.sqlite3").exists()


def test_a_database_that_is_none(line: Line, tmp_path: Path) -> None:
    (tmp_path / "mintmark.sqlite3").write_text("hello" * 1000)
    why = line.refused("client", "list")
    assert "cannot be used" in why
    assert "mintmark doctor" in why


def test_config_may_stand_before_or_behind(
    line: Line, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    config = ("--config", str(tmp_path / "mintmark.toml"))
    assert ADMIN in line(*config, "user", "list").stdout
    assert ADMIN in line("user", "list", *config).stdout
    assert "cannot be read" in line.refused("user", "list", "--config", "nowhere.toml", expect=2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(bare: Line, shell: str) -> None:
    script = bare("completion", shell).stdout
    assert "_MINTMARK_COMPLETE" in script
    assert "mintmark" in script
    lines = [row.strip() for row in bare("completion", "--help").stdout.splitlines()]
    assert sum(row.startswith("mkdir -p ") for row in lines) == 3
    assert any("fpath=(~/.zfunc $fpath)" in row for row in lines)


def test_completion_of_another_shell(bare: Line) -> None:
    assert "'bash', 'zsh', 'fish'" in bare.refused("completion", "csh", expect=2)


def test_dev_refuses_other_hosts_than_this_one(bare: Line) -> None:
    why = bare.refused("dev", "--host", "0.0.0.0", expect=2)
    assert "loopback only" in why
    assert "`mintmark serve`" in why


def test_help_needs_nothing_heavy() -> None:
    heavy = ["asyncio", "cryptography", "jinja2", "pydantic", "rich", "starlette", "structlog", "uvicorn", "zxcvbn"]
    script = (
        "import sys; from mintmark.cli.main import main\n"
        "try: main(['--help'])\n"
        f"finally: print('heavy:', [name for name in {heavy} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "heavy: []" in shown


def test_tables_for_people_show_control_characters_and_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    output.show_all(
        [{"name": "[red]x\x1b[2J", "seen_at": 0, "on": True, "gone_at": None}],
        ("name", "seen_at", "on", "gone_at"),
        as_json=False,
        none="",
    )
    shown = capsys.readouterr().out
    assert "[red]x\\x1b[2J" in shown
    assert "yes" in shown
    assert "seen" in shown


def test_an_instant_beyond_the_calendar_is_a_number() -> None:
    assert output.instant(10**18) == str(10**18)
