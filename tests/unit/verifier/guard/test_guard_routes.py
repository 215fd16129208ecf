"""Which route a request has."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.verifier.guard.asking import table

from mintmark.verifier.bearer import Requirement
from mintmark.verifier.guard.paths import Segments, Unreadable, segments_of
from mintmark.verifier.guard.routes import METHOD, Route, Routes

pytestmark = pytest.mark.spec("S03")


def route(path: str, *methods: str) -> Route:
    return Route(path, segments_of(path), frozenset(methods) or None, Requirement())


ORDERS, READ, WRITE, ALL = route("/orders"), route("/orders/open", "GET"), route("/orders/open", "PUT"), route("/all/x")
ROUTES = Routes([WRITE, ORDERS, ALL, READ])


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/orders", ORDERS),
        ("GET", "/orders/", ORDERS),
        ("DELETE", "/orders/7/lines", ORDERS),
        ("GET", "/orders2", None),
        ("GET", "/order", None),
        ("GET", "/", None),
        ("GET", "/all", None),
        ("GET", "/all/x/y", ALL),
        ("GET", "/x/orders", None),
        ("GET", "/orders/open", READ),
        ("HEAD", "/orders/open/7", READ),
        ("PUT", "/orders/open", WRITE),
        ("GET", "/orders/opened", ORDERS),
        # The longest path decides alone: /orders, which is for all methods, does not take over.
        ("DELETE", "/orders/open", None),
        ("OPTIONS", "/orders/open", None),
    ],
)
def test_the_longest_path_wins_on_the_borders_of_segments(method: str, target: str, expected: Route | None) -> None:
    assert ROUTES.find(method, segments_of(target)) is expected


def test_a_route_without_methods_is_for_the_methods_that_are_left() -> None:
    reading, others = route("/orders", "GET"), route("/orders")
    routes = Routes([others, reading])
    assert routes.find("GET", ("orders",)) is reading
    assert routes.find("HEAD", ("orders",)) is reading
    assert routes.find("POST", ("orders",)) is others


def test_the_root_is_for_everything() -> None:
    root = route("/")
    assert Routes([root]).find("GET", ()) is root
    assert Routes([root]).find("GET", ("a", "b")) is root
    assert Routes([]).find("GET", ()) is None


@pytest.mark.parametrize("target", ["/Orders", "/ORDERS/open", "/orders/Open", "/orders/oPEN/7"])
def test_a_path_that_differs_in_case_is_refused_rather_than_taken_for_another(target: str) -> None:
    routes = Routes([route("/"), route("/orders"), route("/orders/open")])
    assert routes.find("GET", segments_of(target.lower())) is not None
    with pytest.raises(Unreadable):
        routes.find("GET", segments_of(target))


@pytest.mark.parametrize(
    ("routes", "problem"),
    [
        ([route("/a"), route("/a/")], "two routes are for the other methods of /a"),
        ([route("/a", "GET"), route("/a", "PUT", "GET")], "two routes are for GET of /a"),
        ([route("/a", "GET"), route("/a", "HEAD")], "two routes are for HEAD of /a"),
        ([route("/a/b"), route("/A/b", "GET")], "differs from /A/b only in case"),
    ],
)
def test_two_routes_for_the_same_requests(routes: list[Route], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Routes(routes)


def test_escapes_in_a_route_are_decoded(tmp_path: Path) -> None:
    routes = table(tmp_path, '[[route]]\npath = "/caf%C3%A9/a%20b"\n')
    assert routes.find("GET", ("café", "a b")) is not None
    assert routes.find("GET", ("caf%C3%A9", "a%20b")) is None


@pytest.mark.parametrize("method", ["GET", "M-SEARCH", "VERSION-CONTROL"])
def test_methods(method: str) -> None:
    assert METHOD.fullmatch(method)


@pytest.mark.parametrize(
    "method", ["", "get", "Get", "GET ", "GET\n", "G\u0415T", "-", "GET-", "X" * 40, "GET/POST", "GET,PUT"]
)
def test_what_is_no_method(method: str) -> None:
    assert not METHOD.fullmatch(method)


NAMES = st.lists(st.sampled_from("abc"), max_size=4).map(tuple)
METHODS = st.none() | st.frozensets(st.sampled_from(["GET", "PUT", "HEAD"]), min_size=1)


@given(st.lists(st.tuples(NAMES, METHODS), max_size=8), st.sampled_from(["GET", "PUT", "HEAD", "PATCH"]), NAMES)
def test_the_table_finds_what_the_rules_say(
    stated: list[tuple[Segments, frozenset[str] | None]], method: str, path: Segments
) -> None:
    routes = [Route("/" + "/".join(segments), segments, methods, None) for segments, methods in stated]
    try:
        table = Routes(routes)
    except ValueError:
        return
    above = [route for route in routes if path[: len(route.segments)] == route.segments]
    longest = max((len(route.segments) for route in above), default=0)
    nearest = [route for route in above if len(route.segments) == longest]
    read_as = {method, "GET"} if method == "HEAD" else {method}
    named = [route for route in nearest if route.methods and route.methods & read_as]
    left = [route for route in nearest if route.methods is None]
    assert table.find(method, path) is next(iter(named + left), None)
