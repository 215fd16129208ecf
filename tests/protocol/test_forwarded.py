"""Which address counts as the client's, with proxies in between and without."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.installation import CALLBACK, Installation, authorize_url, install
from tests.support.wire import FORM, Answer, send

from mintmark import bootstrap
from mintmark.web.forwarded import behind_proxies, client_address, networks

PROXY, OUTER, CLIENT, OTHER = "10.0.0.1", "10.0.0.2", "192.0.2.9", "198.51.100.7"
TRUSTED = networks(("10.0.0.0/24", "2001:db8:10::/64"))
GUESSES = 30

X_FORWARDED_FOR, FORWARDED = b"x-forwarded-for", b"forwarded"


def seen(*lines: tuple[bytes, str], peer: str = PROXY, trusted: tuple[str, ...] | None = None) -> str:
    headers = tuple((name, value.encode("latin-1")) for name, value in lines)
    return client_address(peer, headers, TRUSTED if trusted is None else networks(trusted))


def x(*values: str, peer: str = PROXY) -> str:
    """Return what counts when these lines of X-Forwarded-For come."""
    return seen(*((X_FORWARDED_FOR, value) for value in values), peer=peer)


def forwarded(*values: str, peer: str = PROXY) -> str:
    """Return what counts when these lines of Forwarded come."""
    return seen(*((FORWARDED, value) for value in values), peer=peer)


def test_a_trusted_proxy_says_who_the_client_is() -> None:
    assert x(CLIENT) == CLIENT
    assert forwarded(f"for={CLIENT}") == CLIENT
    assert x() == PROXY


@pytest.mark.spec("RFC 7239 §8.1")
def test_nobody_else_does() -> None:
    for peer in (CLIENT, "10.0.1.1", "::1", "2001:db8:11::1"):
        assert x(OTHER, peer=peer) == peer
        assert forwarded(f"for={OTHER}", peer=peer) == peer
        assert seen((X_FORWARDED_FOR, OTHER), peer=peer, trusted=()) == peer
    assert seen((X_FORWARDED_FOR, OTHER), trusted=(PROXY,)) == OTHER


def test_trusted_proxies_in_a_row_are_walked_over_from_the_right() -> None:
    assert x(f"{CLIENT}, {OUTER}") == CLIENT
    assert x(f"{OTHER}, {CLIENT}, 2001:db8:10::2,{OUTER}") == CLIENT
    assert forwarded(f"for={OTHER}, for={CLIENT};proto=https, for={OUTER}") == CLIENT


def test_the_leftmost_is_never_believed() -> None:
    assert x(f"{OTHER}, {CLIENT}") == CLIENT
    assert x(f"{OUTER}, {CLIENT}") == CLIENT
    assert forwarded(f"for={OTHER}, for={CLIENT}") == CLIENT


def test_a_request_of_a_proxy_itself_comes_from_the_outermost() -> None:
    assert x(OUTER) == OUTER
    assert forwarded(f"for={OUTER}") == OUTER


def test_several_lines_are_one_list_in_their_order() -> None:
    assert x(OTHER, CLIENT) == CLIENT
    assert x(CLIENT, OUTER) == CLIENT
    assert x(f"{OTHER}, {CLIENT}", f"{OUTER}, {OUTER}") == CLIENT
    assert forwarded(f"for={OTHER}", f"for={CLIENT}") == CLIENT
    assert forwarded(f"for={CLIENT}", f"for={OUTER}") == CLIENT


@pytest.mark.spec("RFC 9110 §5.6.1")
def test_empty_elements_count_for_nothing() -> None:
    assert x(f"{OTHER},, \t,{CLIENT} , ,") == CLIENT
    assert x("", " ", ",") == PROXY
    assert forwarded(f"for={OTHER},,for={CLIENT}, ,") == CLIENT
    assert forwarded("") == PROXY


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.9", "192.0.2.9"),
        ("192.0.2.9:4711", "192.0.2.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("2001:DB8:0:0:0:0:0:9", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("[2001:db8::9]:4711", "2001:db8::9"),
        ("::ffff:192.0.2.9", "192.0.2.9"),
        ("[::ffff:c000:209]:80", "192.0.2.9"),
    ],
)
def test_an_address_has_one_form_however_it_is_written(written: str, address: str) -> None:
    assert x(written) == address
    assert forwarded(f'for="{written}"') == address


@pytest.mark.spec("RFC 7239 §6")
@pytest.mark.parametrize(
    "element",
    [
        'for="192.0.2.9:_obfuscated"',
        'For="[2001:db8::9]:4711"',
        'by=10.0.0.1;FOR="192.0.2.9";proto=https;host="id.example"',
        'for="192.0.2.\\9"',
        'host="a, for=198.51.100.7";for=192.0.2.9',
        'for=192.0.2.9;host="a\\", for=198.51.100.7, \\"b\\\\"',
        "for=192.0.2.9; proto=https ;by=_a",
        "for=192.0.2.9;",
    ],
)
def test_forwarded_in_every_good_form(element: str) -> None:
    assert forwarded(f"for={OTHER}, {element}") in {CLIENT, "2001:db8::9"}


GARBAGE = [
    "unknown",
    "_hidden",
    "client.example",
    "192.0.2",
    "192.0.2.256",
    "192.0.2.09",
    "192.0.2.9:",
    "192.0.2.9:port",
    "192.0.2.9:123456",
    "192.0.2.9/32",
    "192.0.2.9 198.51.100.7",
    "3221225993",
    "0xc0000209",
    "\xb992.0.2.9",
    "2001:db8::g",
    "fe80::1%eth0",
    "[2001:db8::9",
    "2001:db8::9]",
    "[192.0.2.9]",
    "[2001:db8::9]x",
    "[[2001:db8::9]]",
    "[fe80::1%25eth0]",
    "'192.0.2.9'",
    "-",
    "\x00",
    "\xa0192.0.2.9",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_the_walk_ends_at_whoever_says_what_is_no_address(garbage: str) -> None:
    """Nobody answers for what stands left of it."""
    assert x(f"{OTHER}, {garbage}") == PROXY
    assert x(f"{OTHER}, {garbage}, {OUTER}") == OUTER
    assert x(f"{garbage}, {CLIENT}") == CLIENT
    assert forwarded(f'for={OTHER}, for="{garbage}"') == PROXY
    assert forwarded(f'for={OTHER}, for="{garbage}", for={OUTER}') == OUTER
    assert forwarded(f'for="{garbage}", for={CLIENT}') == CLIENT


@pytest.mark.parametrize(
    "element",
    [
        CLIENT,
        "proto=https",
        "for=",
        'for=""',
        "for",
        f"for={CLIENT};for={OTHER}",
        f"for={CLIENT};FOR={CLIENT}",
        f"for={CLIENT}:80",
        "for=2001:db8::9",
        "for=[2001:db8::9]",
        f"for ={CLIENT}",
        f"for= {CLIENT}",
        f";for={CLIENT}",
        f'for="{CLIENT}',
        f'for="{CLIENT}"x',
        f"for={CLIENT};proto",
        f'for="{CLIENT}\\"',
        f"x-for={CLIENT}",
    ],
)
def test_an_element_of_forwarded_that_is_not_well_formed_says_nothing(element: str) -> None:
    assert forwarded(element) == PROXY
    assert forwarded(f"for={OTHER}", element) == PROXY


@pytest.mark.parametrize("opened", ['for="', 'x="a', 'for="\\', 'a="b", c="', '"', '"""', "\\", 'for=1;x="\\\\\\'])
def test_a_quote_left_open_hides_nothing_that_a_proxy_adds(opened: str) -> None:
    for added in (f"for={CLIENT}", f'for="{CLIENT}"', f'for="{CLIENT}:1";host=";for={OTHER};a="'):
        assert forwarded(opened, added) == CLIENT
        assert forwarded(f"{opened}, {added}") == CLIENT


def test_quotes_mean_nothing_in_x_forwarded_for() -> None:
    assert x(f'"{OTHER}, {CLIENT}') == CLIENT
    assert x(f'"{CLIENT}"') == PROXY


def test_headers_that_contradict_each_other_count_for_nothing() -> None:
    """One of the two passed the proxy unread."""
    by_x, by_standard = (X_FORWARDED_FOR, CLIENT), (FORWARDED, f"for={CLIENT}")
    assert seen(by_x, by_standard) == CLIENT
    assert seen(by_x, (FORWARDED, f'for={OTHER}, for="[::ffff:{CLIENT}]:1"')) == CLIENT
    for forged in (f"for={OTHER}", "for=unknown", "", '"', f"for={OUTER}"):
        assert seen(by_x, (FORWARDED, forged)) == PROXY
    for forged in (OTHER, "unknown", "", OUTER):
        assert seen((X_FORWARDED_FOR, forged), by_standard) == PROXY


@pytest.mark.parametrize(
    "name", [b"x_forwarded_for", b"x-real-ip", b"client-ip", b"true-client-ip", b"cf-connecting-ip"]
)
def test_no_other_header_counts(name: bytes) -> None:
    assert seen((name, CLIENT)) == PROXY


def test_long_lists_are_walked_as_short_ones() -> None:
    many = 4_000
    assert x(", ".join([OTHER] * many + [CLIENT] + [OUTER] * many)) == CLIENT
    assert x(f"{OTHER}{',' * 60_000}{CLIENT}") == CLIENT
    assert x(OTHER * many) == PROXY
    assert forwarded(", ".join([f"for={OTHER}"] * many + [f"for={CLIENT}"] + [f"for={OUTER}"] * many)) == CLIENT
    assert forwarded('"' * 60_000) == PROXY
    assert forwarded('\\"' * 30_000) == PROXY


def test_the_peer_in_whatever_form() -> None:
    assert x(CLIENT, peer="::ffff:10.0.0.1") == CLIENT
    assert x(CLIENT, peer="2001:DB8:10:0::1") == CLIENT
    assert x(CLIENT, peer="2001:db8:10::1%eth0") == CLIENT
    assert x(OTHER, peer="::ffff:192.0.2.9") == CLIENT
    assert x(OTHER, peer="fe80::1%eth0") == "fe80::1"
    assert x(OTHER, peer="") == ""
    assert x(OTHER, peer="testclient") == "testclient"


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
strangers = addresses.filter(
    lambda address: (
        not any(
            (getattr(address, "ipv4_mapped", None) or address) in network for network in (*TRUSTED, ip_network(PROXY))
        )
    )
)
anything = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=200)
crafted = st.lists(
    st.one_of(
        anything,
        addresses.map(str),
        addresses.map('for="[{}]"'.format),
        st.sampled_from(['"', "\\", ",", ";", "for=", 'for="', f"for={OUTER}", OUTER, "unknown", ' ,"', '\\",']),
    ),
    max_size=20,
).map("".join)
hops = st.lists(st.ip_addresses(v=4, network="10.0.0.0/24"), max_size=3)


def canonical(address: object) -> str:
    parsed = ip_address(str(address))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def quoted(address: object) -> str:
    return f'for="[{address}]"' if ":" in str(address) else f"for={address}"


@given(forged=st.lists(crafted, max_size=3), client=strangers, proxies=hops, is_one_line=st.booleans())
def test_whoever_writes_everything_on_the_left_does_not_choose_the_result(
    forged: list[str], client: object, proxies: list[object], is_one_line: bool
) -> None:
    for name, written in ((X_FORWARDED_FOR, str), (FORWARDED, quoted)):
        added = ", ".join(written(hop) for hop in (client, *proxies))
        lines = [", ".join([*forged, added])] if is_one_line else [*forged, added]
        assert seen(*((name, line) for line in lines)) == canonical(client)


@given(
    forged=crafted,
    headers=st.lists(st.sampled_from([X_FORWARDED_FOR, FORWARDED]), min_size=1, max_size=4),
    peer=strangers,
)
def test_whoever_comes_without_a_proxy_is_who_they_are(forged: str, headers: list[bytes], peer: object) -> None:
    assert seen(*((name, forged) for name in headers), peer=str(peer)) == canonical(peer)


@given(forged=crafted, client=strangers)
def test_a_header_that_the_proxy_does_not_know_moves_nobody_but_to_the_proxy(forged: str, client: object) -> None:
    assert seen((X_FORWARDED_FOR, str(client)), (FORWARDED, forged)) in {canonical(client), PROXY}
    assert seen((FORWARDED, quoted(client)), (X_FORWARDED_FOR, forged)) in {canonical(client), PROXY}


@pytest.fixture
async def mint() -> Installation:
    return await install()


async def guess(mint: Installation, *headers: tuple[bytes, bytes], address: str = PROXY) -> int:
    """Present a wrong secret; return the status."""
    application = bootstrap.application(mint.authority, trusted_proxies=("10.0.0.0/24",))
    body = b"grant_type=client_credentials&client_id=service&client_secret=wrong"
    answer = await send(application, "POST", "/api/v2/auth/token", headers=(FORM, *headers), body=body, address=address)
    return answer.status


async def guesses(mint: Installation, *written: str, address: str = PROXY) -> list[int]:
    """Present wrong secrets, one with each value of X-Forwarded-For."""
    return [await guess(mint, (X_FORWARDED_FOR, value.encode()), address=address) for value in written]


async def test_wrong_secrets_are_counted_by_client_behind_a_proxy(mint: Installation) -> None:
    assert 429 in await guesses(mint, *[CLIENT] * GUESSES)
    assert await guesses(mint, OTHER) == [401]
    assert await guesses(mint, CLIENT, f"[::ffff:{CLIENT}]:1") == [429, 429]


async def test_forged_addresses_help_neither_behind_a_proxy_nor_without(mint: Installation) -> None:
    forged = [f"203.0.113.{number}" for number in range(GUESSES)]
    assert 429 in await guesses(mint, *(f"{address}, {CLIENT}" for address in forged))
    assert 429 in await guesses(mint, *forged, address=OTHER)
    # Who really are several are counted one by one.
    assert set(await guesses(mint, *forged)) == {401}


async def test_ipv4_seen_as_ipv6_is_not_one_single_source(mint: Installation) -> None:
    """A server on an IPv6 socket sees every IPv4 client in the same /64."""
    seen = [await guess(mint, address=f"::ffff:203.0.113.{number}") for number in range(GUESSES)]
    assert set(seen) == {401}


SAID_BY_PROXIES = (
    (b"host", b"evil.example"),
    (b"x-forwarded-host", b"evil.example"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-port", b"666"),
    (b"x-forwarded-prefix", b"/evil"),
    (b"x-forwarded-server", b"evil.example"),
    (b"x-original-url", b"/evil"),
    (b"x-rewrite-url", b"/evil"),
    (b"forwarded", b"for=192.0.2.9;host=evil.example;proto=http"),
)


@pytest.mark.spec("RFC 8414 §3.3")
@pytest.mark.parametrize("peer", [PROXY, CLIENT])
async def test_what_proxies_say_of_scheme_and_host_changes_nothing(mint: Installation, peer: str) -> None:
    application = bootstrap.application(mint.authority, trusted_proxies=("10.0.0.0/24",))
    path, _, query = authorize_url().partition("?")
    for at, asked in (
        ("/.well-known/openid-configuration", b""),
        ("/.well-known/oauth-authorization-server", b""),
        ("/.well-known/jwks.json", b""),
        (path, query.encode()),
        ("/account", b""),
        (path, b"response_type=code&client_id=spa&scope=nonsense&redirect_uri=" + CALLBACK.encode()),
    ):
        plain, said = [
            await send(application, "GET", at, query=asked, headers=headers, address=peer)
            for headers in ((), SAID_BY_PROXIES)
        ]
        assert _lasting(said) == _lasting(plain)
        assert b"evil" not in said.body + repr(said.headers).encode()


def _lasting(answer: Answer) -> object:
    """Return all but what is new each time."""
    kept = [header for header in answer.headers if header[0] not in {b"set-cookie", b"x-request-id"}]
    return answer.status, kept, answer.body


async def test_only_requests_are_told_of_clients() -> None:
    told: list[object] = []

    async def application(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        told.append(scope)

    around = behind_proxies(application, (PROXY,))
    lifespan = {"type": "lifespan"}
    without_peer = {"type": "http", "headers": [(X_FORWARDED_FOR, CLIENT.encode())], "client": None}
    direct = {"type": "http", "headers": [], "client": (CLIENT, 4711)}
    through = {"type": "http", "headers": [(X_FORWARDED_FOR, CLIENT.encode())], "client": (PROXY, 4711)}
    for scope in (lifespan, without_peer, direct, through):
        await around(scope, None, None)  # type: ignore[arg-type]
    assert told == [lifespan, without_peer, direct, {**through, "client": (CLIENT, 0)}]
