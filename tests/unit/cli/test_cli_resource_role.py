"""`mintmark resource` and `mintmark role`."""

from tests.unit.cli.command_line import ADMIN, START, Line

API = "https://api.example"
ADMIN_API = "http://127.0.0.1:8080/api/v2/admin"


def test_a_resource_from_birth_to_end(line: Line) -> None:
    made = line.json(
        "resource", "create", API, "--name", "Orders", "--scope", "orders:read orders:write", "--permission", "orders:write"
    )  # fmt: skip
    assert made == {
        "resource": API,
        "name": "Orders",
        "scopes": ["orders:read", "orders:write"],
        "permissions": ["orders:write"],
        "created_at": START + 60,
    }
    assert line.json("resource", "show", API) == made
    assert made in line.json("resource", "list")
    assert line.json("resource", "remove", API, typed="y\n") == {"resource": API, "removed": True}
    assert [resource["resource"] for resource in line.json("resource", "list")] == [ADMIN_API]
    events = [event["event"] for event in line.json("audit", "list", "--limit", "2")]
    assert events == ["resource.removed", "resource.created"]


def test_a_resource_in_use_stays(line: Line) -> None:
    line("resource", "create", API)
    line("client", "create", "billing", "--serves", API)
    why = line.refused("resource", "remove", API, "--yes")
    assert "named by client billing" in why
    assert "named by role admin" in line.refused("resource", "remove", ADMIN_API, "--yes")


def test_refusals_of_resources(line: Line) -> None:
    assert "absolute URI" in line.refused("resource", "create", "orders")
    assert "already" in line.refused("resource", "create", ADMIN_API)
    assert f"did you mean {ADMIN_API}?" in line.refused("resource", "show", ADMIN_API + "s")
    assert "belongs to OpenID" in line.refused("resource", "create", API, "--scope", "openid")
    line("resource", "create", API)
    assert "nothing was changed" in line.refused("resource", "remove", API, typed="")
    assert line.json("resource", "show", API)["name"] == API


def test_a_role_from_birth_to_end(line: Line) -> None:
    made = line.json("role", "create", "auditor", "--resource", ADMIN_API, "--permission", "admin")
    assert made == {"name": "auditor", "resource": ADMIN_API, "permissions": ["admin"], "created_at": START + 60}
    assert line.json("role", "show", "auditor") == made
    assert [role["name"] for role in line.json("role", "list")] == ["admin", "auditor"]
    assert "auditor" in line("role", "list").stdout
    assert line.json("role", "remove", "auditor", "--yes") == {"name": "auditor", "removed": True}


def test_a_role_that_somebody_holds_stays(line: Line) -> None:
    assert f"held by {ADMIN}" in line.refused("role", "remove", "admin", "--yes")


def test_refusals_of_roles(line: Line) -> None:
    assert "did you mean" in line.refused("role", "create", "x", "--resource", ADMIN_API + "s")
    assert "does not know the permissions" in line.refused(
        "role", "create", "x", "--resource", ADMIN_API, "--permission", "fly"
    )
    assert "there is a role 'admin' already" in line.refused("role", "create", "admin", "--resource", ADMIN_API)
    assert "did you mean admin?" in line.refused("role", "show", "amdin")
    line("role", "create", "x", "--resource", ADMIN_API)
    assert "nothing was changed" in line.refused("role", "remove", "x", typed="n\n")
