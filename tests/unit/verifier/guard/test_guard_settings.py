"""Settings are understood whole, or refused with everything that is wrong."""

from pathlib import Path

import pytest
from tests.unit.verifier.guard.asking import HEAD, table

from mintmark.verifier.bearer import Requirement
from mintmark.verifier.guard import SettingsUnsound, read_settings

ASKING = 'issuer = "https://auth.example"\naudience = ["https://api.example", "api"]\nclient_id = "gateway"\n'
SECRET = 'client_secret_file = "gateway.secret"\n'


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    file = folder / "guard.toml"
    file.write_text(text)
    with pytest.raises(SettingsUnsound) as caught:
        read_settings(file, environ or {})
    return caught.value.problems


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "guard.toml").write_text(HEAD)
    settings = read_settings(tmp_path / "guard.toml", {})
    assert settings.verifier.audience == {"https://api.example"}
    assert settings.routes.find("GET", ()) is None


def test_a_route_says_all_that_a_requirement_can(tmp_path: Path) -> None:
    text = """
    [[route]]
    path = "/a"
    methods = ["GET", "POST"]
    scope = "a b"
    role = ["clerk", "order admin"]
    permission = "p"
    acr = ["phr", "phrh"]
    max_age = 0
    on_stale = "introspect"
    """
    found = table(tmp_path, text).find("POST", ("a",))
    assert found is not None
    assert found.requirement == Requirement(
        scope=("a", "b"),
        role=("clerk", "order admin"),
        permission=("p",),
        acr=("phr", "phrh"),
        max_age=0,
        on_stale="introspect",
    )


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        ('path = "/a"\nscopes = "x"', "route 1 (/a): unknown key scopes; did you mean scope?"),
        ('path = "/a"\nxyz = 1', "route 1 (/a): unknown key xyz; remove it"),
        ('scope = "x"', "route 1 (without path): Object missing required field `path`"),
        ("path = 7", "route 1 (7): path: Expected `str`, got `int`"),
        ('path = "a"', "route 1 (a): path: not a path"),
        ('path = ""', "route 1 (): path: not a path"),
        ('path = "/a/../b"', "route 1 (/a/../b): path: a segment that ends with a dot"),
        ('path = "/a//b"', "route 1 (/a//b): path: an empty segment"),
        ('path = "/a%2fb"', "route 1 (/a%2fb): path: an escaped separator"),
        ('path = "/é"', "route 1 (/é): path: not a path, or with characters that have to be escaped"),
        ('path = "/a/"', "route 1 (/a/): path: without the slash at the end"),
        ('path = "/a?b"', "route 1 (/a?b): path: without a query"),
        ('path = "/a*"\nmethods = []', "route 1 (/a*): methods: Expected `array` of length >= 1"),
        ('path = "/a"\nmethods = "GET"', "route 1 (/a): methods: Expected `array | null`, got `str`"),
        ('path = "/a"\nmethods = ["GET", "post"]', "route 1 (/a): methods: 'post' is no method"),
        ('path = "/a"\npublic = "yes"', "route 1 (/a): public: Expected `bool`, got `str`"),
        (
            'path = "/a"\npublic = true\nscope = "x"\nmax_age = 5',
            "route 1 (/a): public, but scope and max_age required",
        ),
        ('path = "/a"\nscope = ""', "route 1 (/a): scope: Expected `str` of length >= 1"),
        ('path = "/a"\nrole = []', "route 1 (/a): role: Expected `array` of length >= 1"),
        ('path = "/a"\npermission = [""]', "route 1 (/a): permission[0]: Expected `str` of length >= 1"),
        ('path = "/a"\nrole = "a  b"', "route 1 (/a): role: a name is empty"),
        ('path = "/a"\nscope = \'a"b\'', "route 1 (/a): scope: printable ASCII"),
        ('path = "/a"\nacr = ["é"]', "route 1 (/a): acr: printable ASCII"),
        ('path = "/a"\nmax_age = -1', "route 1 (/a): max_age: Expected `int` >= 0"),
        ('path = "/a"\nmax_age = true', "route 1 (/a): max_age: Expected `int | null`, got `bool`"),
        ('path = "/a"\non_stale = "allow"', "route 1 (/a): on_stale: Invalid enum value 'allow'"),
        ('path = "/a"\n[[route]]\npath = "/a"', "two routes are for the other methods of /a"),
    ],
)
def test_a_route_that_is_not_understood(tmp_path: Path, route: str, problem: str) -> None:
    (said,) = problems(tmp_path, f"{HEAD}[[route]]\n{route}\n")
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("issuer = ", "this is no TOML: Invalid value"),
        (HEAD.replace("issuer", "isuer"), "unknown key isuer; did you mean issuer?"),
        (HEAD.replace("audience", "port"), "Object missing required field `audience`"),
        (HEAD.replace('"https://api.example"', '""'), "audience: Expected `str` of length >= 1"),
        (HEAD.replace("https://auth", "http://auth"), "an issuer is an https URL"),
        (HEAD + 'on_stale = "x"\n', "on_stale: Invalid enum value 'x'"),
        (HEAD + "introspect = true\n", "this is no TOML: Cannot overwrite a value"),
        (HEAD.replace("when_needed", "never"), "introspect: Invalid enum value 'never'"),
        (HEAD.replace("when_needed", "always"), "to introspect, this service needs a client_id"),
        (HEAD + SECRET, "client_secret_file: there is no client_id"),
        (HEAD + 'on_stale = "introspect"\n', "to introspect, this service needs a client_id"),
        (ASKING, "client_secret_file: name the file with the secret of client_id, or set MINTMARK_CLIENT_SECRET"),
        (ASKING + SECRET, "client_secret_file: "),
        (HEAD + 'route = "/a"\n', "write each route under a line [[route]]"),
        (HEAD + '[route]\npath = "/a"\n', "write each route under a line [[route]]"),
    ],
)
def test_settings_that_are_not_understood(tmp_path: Path, text: str, problem: str) -> None:
    assert any(said.startswith(problem) for said in problems(tmp_path, text))


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = HEAD + 'x = 1\n[[route]]\npath = "a"\nscopes = "x"\n[[route]]\npath = "/b"\nmax_age = -1\n'
    assert len(problems(tmp_path, text)) == 4


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsUnsound, match="cannot be read: No such file"):
        read_settings(tmp_path / "nowhere.toml", {})
    (tmp_path / "guard.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsUnsound, match="is no text in UTF-8"):
        read_settings(tmp_path / "guard.toml", {})


@pytest.mark.spec("I8")
def test_the_secret_is_found_and_said_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "guard.toml"
    file.write_text(ASKING + SECRET)
    (tmp_path / "gateway.secret").write_text("s3cret\n")
    (tmp_path / "other.secret").write_text("0ther\n")
    for environ in (
        {},
        {"MINTMARK_CLIENT_SECRET": "s3cret"},
        {"MINTMARK_CLIENT_SECRET_FILE": str(tmp_path / "other.secret")},
    ):
        settings = read_settings(file, environ)
        assert "s3cret" not in repr(settings)
    (tmp_path / "gateway.secret").write_text("\n")
    (said,) = problems(tmp_path, ASKING + SECRET)
    assert said == "client_id or client_secret is empty"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Return what verifiers are made with; none is made."""
    seen: list[dict[str, object]] = []
    monkeypatch.setattr("mintmark.verifier.guard.settings.Verifier", lambda *_, **options: seen.append(options))
    return seen


def test_the_environment_goes_before_the_file(tmp_path: Path, given: list[dict[str, object]]) -> None:
    (tmp_path / "gateway.secret").write_text("of the file\n")
    (tmp_path / "other.secret").write_text("of another file\n")
    other = {"MINTMARK_CLIENT_SECRET_FILE": str(tmp_path / "other.secret")}
    for environ in ({}, other, other | {"MINTMARK_CLIENT_SECRET": "of the environment"}):
        problems(tmp_path, ASKING + SECRET, environ)
    assert [options["client_secret"] for options in given] == ["of the file", "of another file", "of the environment"]


@pytest.mark.spec("S03")
def test_by_default_the_issuer_is_asked_about_every_token(tmp_path: Path, given: list[dict[str, object]]) -> None:
    environ = {"MINTMARK_CLIENT_SECRET": "s3cret"}
    problems(tmp_path, ASKING, environ)
    problems(tmp_path, ASKING + 'introspect = "when_needed"\non_stale = "deny"\n', environ)
    assert [(options["introspect"], options["on_stale"]) for options in given] == [
        ("always", "serve"),
        ("when_needed", "deny"),
    ]
