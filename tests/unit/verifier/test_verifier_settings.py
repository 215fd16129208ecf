"""What a verifier may be told, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.issuers import API, CLIENT_ID, CLIENT_SECRET, Authority
from tests.support.verifying import ISSUER
from tests.unit.verifier.verifier_things import outcome

from mintmark.verifier import Issuer, Verifier
from mintmark.verifier.credentials import basic_authorization


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": ISSUER, "audience": API},
        {"issuer": ISSUER, "audience": ["a", "b"]},
        {"issuer": "http://127.0.0.1:8000", "audience": API},
        {"issuer": "https://auth.example/tenant", "audience": API, "leeway": 0},
        {"issuer": ISSUER, "audience": API, "leeway": 300, "on_stale": "serve"},
        {"issuer": ISSUER, "audience": API, "client_id": "c", "client_secret": "s", "on_stale": "deny"},
        {"issuer": ISSUER, "audience": API, "client_id": "c", "client_secret": "s", "on_stale": "introspect"},
        {"issuer": ISSUER, "audience": API, "client_id": "c", "client_secret": "s", "introspect": "always"},
        {"issuer": [Issuer(url=ISSUER, audience="a"), Issuer(url="https://b.example", audience="b")]},
        {"issuer": iter([Issuer(url=ISSUER, audience="a")]), "on_stale": "serve"},
    ],
)
def test_settings_that_are_fine(settings: dict[str, Any]) -> None:
    Verifier(**settings).close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"issuer": [], "audience": ()}, "at least one issuer"),
        ({"issuer": ISSUER}, "audience is empty"),
        ({"issuer": ISSUER, "audience": []}, "audience is empty"),
        ({"issuer": "", "audience": API}, "issuer is an https URL"),
        ({"issuer": "auth.example", "audience": API}, "issuer is an https URL"),
        ({"issuer": "http://auth.example", "audience": API}, "issuer is an https URL"),
        ({"issuer": "https://auth.example?x=1", "audience": API}, "issuer is an https URL"),
        ({"issuer": "https://auth.example#x", "audience": API}, "issuer is an https URL"),
        ({"issuer": ISSUER, "audience": API, "leeway": -1}, "leeway is 0 to 300"),
        ({"issuer": ISSUER, "audience": API, "leeway": 301}, "leeway is 0 to 300"),
        ({"issuer": ISSUER, "audience": API, "on_stale": "hope"}, "on_stale is one of"),
        ({"issuer": ISSUER, "audience": API, "introspect": "never"}, "introspect is"),
        ({"issuer": ISSUER, "audience": API, "client_id": "c"}, "go together"),
        ({"issuer": ISSUER, "audience": API, "client_secret": "s"}, "go together"),
        ({"issuer": ISSUER, "audience": API, "on_stale": "introspect"}, "to introspect"),
        ({"issuer": ISSUER, "audience": API, "on_stale": "deny"}, "without a client_id"),
        ({"issuer": ISSUER, "audience": API, "introspect": "always"}, "to introspect"),
        ({"issuer": [Issuer(url=ISSUER, audience="a")] * 2}, "named twice"),
        ({"issuer": [Issuer(url=ISSUER, audience="a")], "audience": "a"}, "each has its own"),
        ({"issuer": [Issuer(url=ISSUER, audience="a")], "client_id": "c", "client_secret": "s"}, "each has its own"),
        (
            {
                "issuer": [
                    Issuer(url=ISSUER, audience="a", client_id="c", client_secret="s"),
                    Issuer(url="https://b.example", audience="b"),
                ],
                "on_stale": "introspect",
            },
            "at every issuer",
        ),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Verifier(**settings)


GOOD_ENVIRONMENT = {"MINTMARK_ISSUER": ISSUER, "MINTMARK_AUDIENCE": API}


def from_env(**values: str) -> Verifier:
    return Verifier.from_env(GOOD_ENVIRONMENT | values)


def test_the_environment_may_say_everything(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from the file\n")
    bare = from_env()
    assert bare.audience == {API}
    assert not any("introspections" in name for name in bare.metrics())
    both = from_env(MINTMARK_AUDIENCE=f"{API}  other", MINTMARK_CLIENT_ID="c", MINTMARK_CLIENT_SECRET="s")
    assert both.audience == {API, "other"}
    assert any("introspections" in name for name in both.metrics())
    from_env(MINTMARK_CLIENT_ID="c", MINTMARK_CLIENT_SECRET_FILE=str(secret), MINTMARK_ON_STALE="introspect")
    from_env(MINTMARK_CLIENT_ID="", MINTMARK_CLIENT_SECRET="", MINTMARK_CLIENT_SECRET_FILE="")


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    assert Verifier.from_env().audience == {API}


def test_the_secret_of_a_file_is_what_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"  {CLIENT_SECRET}\n")
    monkeypatch.setattr("mintmark.verifier.verifier.HTTPTransport", lambda: authority.network)
    made = from_env(MINTMARK_CLIENT_ID=CLIENT_ID, MINTMARK_CLIENT_SECRET_FILE=str(secret))
    made.catch_up()
    outcome(lambda: made.verify("opaque"))
    (asked,) = [one for one in authority.network.asked if one.url == authority.introspection_url]
    assert asked.headers["authorization"] == basic_authorization(CLIENT_ID, CLIENT_SECRET)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"MINTMARK_ISSUER": ""}, "MINTMARK_ISSUER is not set"),
        ({"MINTMARK_AUDIENCE": ""}, "MINTMARK_AUDIENCE is not set"),
        ({"MINTMARK_AUDIENCE": "  "}, "audience is empty"),
        ({"MINTMARK_ON_STALE": "hope"}, "MINTMARK_ON_STALE is one of deny, introspect, serve"),
        ({"MINTMARK_ON_STALE": "introspect"}, "to introspect"),
        ({"MINTMARK_CLIENT_ID": "c"}, "client_secret"),
        ({"MINTMARK_CLIENT_SECRET": "s"}, "client_id"),
        ({"MINTMARK_CLIENT_ID": "c", "MINTMARK_CLIENT_SECRET_FILE": "/nowhere"}, "MINTMARK_CLIENT_SECRET_FILE cannot"),
        ({"MINTMARK_ISSUER": "ftp://auth.example"}, "issuer is an https URL"),
    ],
)
def test_an_environment_that_is_refused(values: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_env(**values)


@pytest.mark.spec("S07")
@pytest.mark.parametrize(
    ("content", "said"), [(b"", "go together"), (b"\n", "go together"), (b"\xff\xfes", "is no text")]
)
def test_a_file_without_a_secret_is_refused_and_not_quoted(tmp_path: Path, content: bytes, said: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        from_env(MINTMARK_CLIENT_ID="c", MINTMARK_CLIENT_SECRET_FILE=str(secret))
    assert not isinstance(caught.value, UnicodeError)
    assert "0xff" not in str(caught.value)
