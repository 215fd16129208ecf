"""`mintmark user`."""

import json

import pytest
from tests.unit.cli.command_line import ADMIN, PASSWORD, START, Line

SHAPE = {"subject", "email", "email_verified", "name", "roles", "created_at", "updated_at", "disabled_at"}
OTHER = "rhinoceros wears purple socks"
BOB = "bob@example.com"


@pytest.fixture
def bob(line: Line) -> str:
    """Return the subject of a second user."""
    made = line.json("user", "create", BOB, "--name", "Bob", "--password-stdin", typed=OTHER + "\n")
    return str(made["subject"])


def test_create_reads_the_password_from_standard_input(line: Line) -> None:
    result = line("user", "create", BOB, "--role", "admin", "--password-stdin", "--json", typed=OTHER + "\n")
    made = json.loads(result.stdout)
    assert made.keys() == SHAPE
    assert (made["email"], made["roles"], made["created_at"]) == (BOB, ["admin"], START + 60)
    assert OTHER not in result.output


def test_create_asks_for_the_password_twice_and_hides_it(line: Line) -> None:
    result = line("user", "create", BOB, "--json", typed=f"{OTHER}\n{OTHER}\n")
    assert OTHER not in result.output
    assert "Repeat for confirmation" in result.stderr
    assert json.loads(result.stdout)["email"] == BOB


def test_nobody_there_to_type_a_password(line: Line) -> None:
    assert "--password-stdin" in line.refused("user", "create", BOB, typed="")
    assert "expected on standard input" in line.refused("user", "create", BOB, "--password-stdin", typed="")


@pytest.mark.parametrize("name", [ADMIN, ADMIN.upper(), "subject"])
def test_a_user_is_found_by_email_and_by_subject(line: Line, name: str) -> None:
    (admin,) = line.json("user", "list")
    assert line.json("user", "show", admin["subject"] if name == "subject" else name) == admin


def test_no_hash_is_ever_shown(line: Line) -> None:
    for args in (("list",), ("show", ADMIN), ("list", "--json"), ("show", ADMIN, "--json")):
        output = line("user", *args).output
        assert "argon2" not in output
        assert "hash" not in output


def test_refusals_say_what_next(line: Line) -> None:
    assert f"did you mean {ADMIN}?" in line.refused("user", "show", "ada@exmaple.com")
    assert "`mintmark user list` shows all" in line.refused("user", "show", "zzz")
    why = line.refused("user", "create", ADMIN.upper(), "--password-stdin", typed=OTHER)
    assert "there is a user" in why
    assert "Choose another email." in why
    assert "is not an email" in line.refused("user", "create", "bob", "--password-stdin", typed=OTHER)
    assert "at least 8" in line.refused("user", "create", BOB, "--password-stdin", typed="short")
    assert "did you mean admin?" in line.refused("user", "create", BOB, "--role", "admni", typed=OTHER)


def test_set_password_signs_out(line: Line) -> None:
    result = line("user", "set-password", ADMIN, "--password-stdin", "--json", typed=OTHER + "\n")
    assert json.loads(result.stdout)["email"] == ADMIN
    assert OTHER not in result.output
    assert "signed out everywhere" in result.stderr
    events = [event["event"] for event in line.json("audit", "list", "--subject", ADMIN)]
    assert "user.password_changed" in events


def test_disable_and_enable(line: Line, bob: str) -> None:
    assert line.json("user", "disable", bob, "--yes")["disabled_at"] == START + 60
    assert line.json("user", "enable", BOB)["disabled_at"] is None


def test_sign_out_and_remove(line: Line, bob: str) -> None:
    assert line("user", "sign-out", BOB, "-y").stderr == "Signed out everywhere.\n"
    assert line.json("user", "sign-out", BOB, "-y") == {"subject": bob, "email": BOB, "grants_ended": 0}
    assert line.json("user", "remove", BOB, "--yes") == {"subject": bob, "email": BOB, "removed": True}
    assert [user["email"] for user in line.json("user", "list")] == [ADMIN]


@pytest.mark.parametrize("verb", ["disable", "remove", "sign-out"])
def test_without_a_yes_nothing_changes(line: Line, verb: str) -> None:
    before = line.json("audit", "list")
    assert "nothing was changed" in line.refused("user", verb, ADMIN, typed="n\n")
    assert line.json("audit", "list") == before


def test_roles_are_granted_and_revoked(line: Line, bob: str) -> None:
    line("role", "create", "reader", "--resource", "http://127.0.0.1:8080/api/v2/admin")
    assert line.json("user", "grant-role", BOB, "reader")["roles"] == ["reader"]
    assert line.json("user", "grant-role", bob, "admin")["roles"] == ["reader", "admin"]
    assert "already" in line.refused("user", "grant-role", BOB, "admin")
    result = line("user", "revoke-role", BOB, "reader", "--json")
    assert json.loads(result.stdout)["roles"] == ["admin"]
    assert "`mintmark user sign-out bob@example.com`" in result.stderr
    assert "roles held: admin" in line.refused("user", "revoke-role", BOB, "reader")
    assert "did you mean reader?" in line.refused("user", "grant-role", BOB, "raeder")
    changes = [e["detail"] for e in line.json("audit", "list") if e["event"] == "user.roles_changed"]
    assert changes == [
        {"before": "reader admin", "after": "admin"},
        {"before": "reader", "after": "reader admin"},
        {"before": "", "after": "reader"},
    ]


def test_a_person_reads_a_table(line: Line) -> None:
    assert ADMIN in line("user", "list").stdout
    shown = line("user", "show", ADMIN).stdout
    assert "2023-11-14 22:13:20Z" in shown
    assert PASSWORD not in shown
