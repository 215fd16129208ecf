import pytest

from mintmark.authority.policy import Policy
from mintmark.oauth.parameters import Parameters, parse
from mintmark.pages import steps
from mintmark.pages.browser import Browser, StaleFormError, set_cookie

POLICY = Policy(issuer="https://id.example")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("client_id=a&prompt=login", "client_id=a"),
        ("client_id=a&prompt=select_account+login", "client_id=a"),
        ("client_id=a&prompt=login+consent", "client_id=a&prompt=consent"),
        ("client_id=a&prompt=none", "client_id=a&prompt=none"),
        ("client_id=a&max_age=0", "client_id=a"),
        ("client_id=a&state=%26%22%3E&resource=x&resource=y", "client_id=a&state=%26%22%3E&resource=x&resource=y"),
    ],
)
def test_what_a_fresh_sign_in_satisfies_is_left_out(before: str, after: str) -> None:
    once = steps.after_sign_in(parse(before.encode()))
    assert once.urlencode() == after
    assert steps.after_sign_in(once) == once


def test_a_path_without_parameters_has_no_query() -> None:
    assert steps.with_query("/login", Parameters({})) == "/login"
    assert steps.with_query("/login", Parameters({"a": "b c"})) == "/login?a=b+c"


def test_secrets_do_not_show_in_what_is_logged() -> None:
    assert "s3cret" not in repr(Browser("s3cret", is_new=True))
    assert set_cookie(POLICY, "s3cret")[0][1].startswith(b"__Host-mintmark=s3cret;")


def test_a_stale_form_tells_where_a_fresh_one_is() -> None:
    error = StaleFormError("why", "/login")
    assert (error.status, error.again, error.detail) == (403, "/login", "why")
    assert "why" not in error.description
