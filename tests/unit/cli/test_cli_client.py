"""`mintmark client`."""

import json

import pytest
from tests.unit.cli.command_line import START, Line

SHAPE = {
    "client_id", "name", "token_endpoint_auth_method", "application_type", "redirect_uris", "post_logout_redirect_uris",
    "grant_types", "scope", "resources", "default_resource", "serves", "roles", "classification", "refresh_rotation",
    "require_pkce", "skip_consent", "access_token_lifetime", "refresh_token_lifetime", "refresh_idle_lifetime",
    "refresh_grace", "access_token_signed_response_alg", "id_token_signed_response_alg", "created_at", "disabled_at",
    "secrets", "lifetimes",
}  # fmt: skip


@pytest.fixture
def api(line: Line) -> str:
    """Return a resource."""
    line("resource", "create", "https://api.example", "--scope", "orders:read orders:write")
    return "https://api.example"


def test_create_prints_the_secret_once_with_a_note(line: Line) -> None:
    result = line("client", "create", "billing", "--json")
    made = json.loads(result.stdout)
    assert made.keys() == SHAPE | {"client_secret"}
    assert made["client_secret"].startswith("mms_")
    assert "shown this once" in result.stderr
    for args in (("list",), ("show", "billing"), ("update", "billing", "--name", "Billing")):
        assert made["client_secret"] not in line("client", *args, "--json").output


def test_a_service_is_what_a_client_without_redirect_uri_is(line: Line, api: str) -> None:
    made = line.json("client", "create", "billing", "--resource", api, "--scope", "orders:read orders:write")
    assert made["grant_types"] == ["client_credentials"]
    assert made["scope"] == ["orders:read", "orders:write"]
    assert made["default_resource"] == api
    assert made["lifetimes"]["access_token_lifetime"] == 900
    assert made["created_at"] == START + 60


def test_a_person_reads_the_secret_first_and_what_was_chosen(line: Line, api: str) -> None:
    result = line("client", "create", "billing", "--resource", api, "--scope", "orders:read")
    shown = dict(row.split(maxsplit=1) for row in result.stdout.splitlines())
    assert list(shown) == [
        "client_secret", "client_id", "grant_types", "scope", "resources", "default_resource", "issuer", "discovery",
    ]  # fmt: skip
    assert shown["issuer"] == "http://127.0.0.1:8080"
    assert shown["discovery"] == "http://127.0.0.1:8080/.well-known/openid-configuration"
    assert "Warning" not in result.stderr
    public = line(
        "client", "create", "app", "--kind", "spa", "--redirect-uri", "https://a.example/", "--scope", "openid"
    )
    assert public.stdout.startswith("client_id ")
    assert public.stderr == ""


def test_scopes_that_are_never_granted_are_told(line: Line, api: str) -> None:
    result = line("client", "create", "billing", "--scope", "orders:read openid email")
    assert "Warning: no resource that it may name has the scope orders:read, so it is never granted" in result.stderr
    assert f"`mintmark client update billing --resource {api}`" in result.stderr
    assert "Warning" not in line("client", "update", "billing", "--resource", api).stderr
    result = line("client", "update", "billing", "--scope", "orders:raed", "--json")
    assert "`mintmark resource create URI --scope 'orders:raed'`" in result.stderr
    assert json.loads(result.stdout)["scope"] == ["orders:raed"]
    assert "no scope" in line("client", "create", "web", "--redirect-uri", "https://a.example/cb").stderr


@pytest.mark.parametrize(
    ("args", "method", "application_type", "has_secret"),
    [
        (("--redirect-uri", "https://app.example/cb"), "client_secret_basic", "web", True),
        (("--redirect-uri", "http://127.0.0.1:3000/cb"), "client_secret_basic", "native", True),
        (("--kind", "spa", "--redirect-uri", "https://app.example/cb"), "none", "web", False),
        (("--kind", "native", "--redirect-uri", "com.example.app:/cb"), "none", "native", False),
        (
            ("--redirect-uri", "https://app.example/cb", "--auth-method", "client_secret_post"),
            "client_secret_post",
            "web",
            True,
        ),
    ],
)
def test_kinds_of_clients(
    line: Line, args: tuple[str, ...], method: str, application_type: str, has_secret: bool
) -> None:
    made = line.json("client", "create", "app", *args)
    assert made["token_endpoint_auth_method"] == method
    assert made["application_type"] == application_type
    assert made["grant_types"] == ["authorization_code", "refresh_token"]
    assert (made["client_secret"] is not None) == has_secret


def test_every_option_reaches_the_registration(line: Line, api: str) -> None:
    line("role", "create", "reader", "--resource", api)
    made = line.json(
        "client", "create", "app", "--name", "App", "--redirect-uri", "https://app.example/cb",
        "--post-logout-redirect-uri", "https://app.example/bye", "--grant-type", "authorization_code", "--scope", "openid",
        "--resource", api, "--default-resource", api, "--serves", api, "--role", "reader", "--classification", "internal",
        "--skip-consent", "--no-require-pkce", "--refresh-rotation", "stable", "--access-token-lifetime", "60",
        "--refresh-token-lifetime", "600", "--refresh-idle-lifetime", "300", "--refresh-grace", "5",
        "--access-token-alg", "ES256", "--id-token-alg", "ES256",
    )  # fmt: skip
    expected = {
        "name": "App", "redirect_uris": ["https://app.example/cb"], "serves": [api], "roles": ["reader"],
        "post_logout_redirect_uris": ["https://app.example/bye"], "grant_types": ["authorization_code"],
        "scope": ["openid"], "resources": [api], "default_resource": api, "classification": "internal",
        "skip_consent": True, "require_pkce": False, "refresh_rotation": "stable", "access_token_lifetime": 60,
        "refresh_token_lifetime": 600, "refresh_idle_lifetime": 300, "refresh_grace": 5,
        "access_token_signed_response_alg": "ES256", "id_token_signed_response_alg": "ES256",
    }  # fmt: skip
    assert made.items() >= expected.items()


def test_update_changes_what_is_given_and_nothing_else(line: Line, api: str) -> None:
    before = line.json("client", "create", "billing", "--resource", api, "--scope", "orders:read")
    del before["client_secret"]
    after = line.json("client", "update", "billing", "--name", "Billing", "--access-token-lifetime", "60")
    assert after == before | {
        "name": "Billing",
        "access_token_lifetime": 60,
        "lifetimes": before["lifetimes"] | {"access_token_lifetime": 60},
    }
    cleared = line.json(
        "client", "update", "billing", "--clear", "access-token-lifetime", "--clear", "scope", "--clear", "resource",
        "--clear", "default-resource",
    )  # fmt: skip
    assert cleared["access_token_lifetime"] is None
    assert cleared["lifetimes"] == before["lifetimes"]
    assert cleared["scope"] == cleared["resources"] == []


def test_update_without_a_change_is_wrong_usage(line: Line) -> None:
    assert "nothing to change" in line.refused("client", "update", "first-client", expect=2)


def test_a_public_client_cannot_become_confidential_without_a_secret(line: Line) -> None:
    line("client", "create", "app", "--kind", "spa", "--redirect-uri", "https://app.example/cb")
    assert "has no secret" in line.refused("client", "update", "app", "--auth-method", "client_secret_basic")


def test_rotate_secret_prints_a_new_one(line: Line) -> None:
    first = line.json("client", "rotate-secret", "first-client")
    second = line.json("client", "rotate-secret", "first-client")
    assert first.keys() == {"client_id", "client_secret"}
    assert first["client_secret"] != second["client_secret"]
    assert line.json("client", "show", "first-client")["secrets"] == 2


def test_a_public_client_has_no_secret_to_rotate(line: Line) -> None:
    line("client", "create", "app", "--kind", "spa", "--redirect-uri", "https://app.example/cb")
    assert "no secret" in line.refused("client", "rotate-secret", "app")


def test_disable_asks_and_enable_undoes(line: Line) -> None:
    result = line("client", "disable", "first-client", "--json", typed="y\n")
    assert "Disable first-client" in result.stderr
    assert json.loads(result.stdout)["disabled_at"] == START + 60
    assert line.json("client", "enable", "first-client")["disabled_at"] is None


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
@pytest.mark.parametrize("verb", ["disable", "remove"])
def test_without_a_yes_nothing_changes(line: Line, verb: str, answer: str) -> None:
    assert "nothing was changed" in line.refused("client", verb, "first-client", typed=answer)
    assert line.json("client", "show", "first-client")["disabled_at"] is None


def test_remove_is_for_good(line: Line) -> None:
    assert line.json("client", "remove", "first-client", "--yes") == {"client_id": "first-client", "removed": True}
    assert line.json("client", "list") == []
    result = line("client", "list")
    assert result.stdout == ""
    assert "`mintmark client create`" in result.stderr


def test_refusals_say_what_next(line: Line) -> None:
    assert "did you mean first-client?" in line.refused("client", "show", "frist-client")
    assert "`mintmark client list` shows all" in line.refused("client", "show", "zzz")
    why = line.refused("client", "create", "first-client")
    assert "there is a client 'first-client' already" in why
    assert "Choose another client_id." in why
    assert "mintmark resource create" in line.refused("client", "create", "x", "--resource", "https://nowhere.example")
    assert "client_id must be printable" in line.refused("client", "create", "a b")
    assert "is not in the range" in line.refused("client", "create", "x", "--access-token-lifetime", "1", expect=2)


def test_the_table_has_one_line_a_client_where_it_is_piped(line: Line) -> None:
    line("client", "create", "x" * 150, "--name", "[bold]\x1b[31mevil\x1b[0m")
    lines = line("client", "list").stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["client", "id", "name", "grant", "types", "classification", "created", "disabled"]
    assert lines[2].startswith("x" * 150)
    assert "[bold]\\x1b[31mevil\\x1b[0m" in lines[2]
