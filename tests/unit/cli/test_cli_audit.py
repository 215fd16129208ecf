"""`mintmark audit`."""

from tests.unit.cli.command_line import ADMIN, Line


def test_the_latest_come_first(line: Line) -> None:
    line("client", "create", "billing")
    first, *rest = line.json("audit", "list")
    assert first.keys() == {"at", "event", "client_id", "subject", "gid", "detail"}
    assert (first["event"], first["client_id"]) == ("client.created", "billing")
    assert all(first["at"] >= event["at"] for event in rest)
    assert line.json("audit", "list", "--limit", "1") == [first]
    assert "client.created" in line("audit", "list").stdout


def test_filters(line: Line) -> None:
    (admin,) = line.json("user", "list")
    by_email = line.json("audit", "list", "--subject", ADMIN)
    assert [event["event"] for event in by_email] == ["user.created"]
    assert line.json("audit", "list", "--subject", admin["subject"]) == by_email
    assert line.json("audit", "list", "--gid", "none") == []
    assert "Nothing was recorded" in line("audit", "list", "--gid", "none").stderr


def test_refusals(line: Line) -> None:
    assert "did you mean" in line.refused("audit", "list", "--subject", "ada@exmaple.com")
    assert "is not in the range" in line.refused("audit", "list", "--limit", "0", expect=2)
