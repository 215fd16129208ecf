import re
from importlib.resources import files
from itertools import product

import pytest
from jinja2 import UndefinedError

from mintmark.asgi import Reply
from mintmark.authority.policy import Policy
from mintmark.pages.rendering import host, origin, page, prefix, see_other

POLICY = Policy(issuer="https://id.example")
STYLES = files("mintmark.pages").joinpath("static", "mintmark.css").read_text(encoding="utf-8")


def header(reply: Reply, name: bytes) -> str:
    [value] = [value for key, value in reply.headers if key == name]
    return value.decode()


@pytest.mark.parametrize(
    ("issuer", "path", "host_name", "origin_name"),
    [
        ("https://id.example", "", "id.example", "https://id.example"),
        ("https://id.example:443", "", "id.example:443", "https://id.example"),
        ("https://id.example:8443/auth", "/auth", "id.example:8443", "https://id.example:8443"),
        ("http://localhost:80/a/b", "/a/b", "localhost:80", "http://localhost"),
        ("http://[::1]:8080", "", "[::1]:8080", "http://[::1]:8080"),
        ("https://id.example//evil.example", "/evil.example", "id.example", "https://id.example"),
    ],
)
def test_addresses_come_from_the_issuer(issuer: str, path: str, host_name: str, origin_name: str) -> None:
    policy = Policy(issuer=issuer)
    assert (prefix(policy), host(policy), origin(policy)) == (path, host_name, origin_name)
    assert header(see_other(policy, "/login"), b"location") == f"{path}/login"
    assert header(see_other(policy, "https://app.example/cb"), b"location") == "https://app.example/cb"


@pytest.mark.parametrize("nonce", ["abc", None])
def test_a_script_needs_a_nonce(nonce: str | None) -> None:
    reply = page(POLICY, "form_post.html", script_nonce=nonce, action="https://app.example/cb", parameters={})
    policy = header(reply, b"content-security-policy")
    assert ("script-src 'nonce-abc'" in policy) == (nonce is not None)
    assert ("script" in policy) == (nonce is not None)


def test_a_value_that_a_template_misses_is_a_fault() -> None:
    with pytest.raises(UndefinedError):
        page(POLICY, "login.html")


def test_no_template_marks_text_safe() -> None:
    for template in files("mintmark.pages").joinpath("templates").iterdir():
        source = template.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe|autoescape|\sstyle=|\son\w+=", source), template.name
        # Inside a tag, a value stands in quotes (or is itself a whole attribute chosen by the template).
        for tag in re.findall(r"<[a-z][^<>]*\{\{[^<>]*>", source):
            assert not re.search(r"=\{\{", tag), tag


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colours(scheme: str) -> dict[str, str]:
    light, dark = STYLES.split("@media (prefers-color-scheme: dark)")
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))


@pytest.mark.spec("WCAG 2.2 §1.4.3")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme: str) -> None:
    found = colours(scheme)
    pairs = [
        *product(("text", "quiet", "accent", "accent-strong"), ("ground", "card")),
        ("on-accent", "accent"),
        ("on-accent", "accent-strong"),
        ("accent-strong", "wash"),
        ("danger", "card"),
        ("danger", "danger-wash"),
        ("caution", "caution-wash"),
    ]
    assert [(pair, round(contrast(*(found[name] for name in pair)), 2)) for pair in pairs] == [
        (pair, value) for pair in pairs if (value := round(contrast(*(found[name] for name in pair)), 2)) >= 4.5
    ]


@pytest.mark.spec("WCAG 2.2 §1.4.11")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_controls_can_be_seen(scheme: str) -> None:
    found = colours(scheme)
    for border, ground in product(("control", "accent", "danger"), ("ground", "card")):
        assert contrast(found[border], found[ground]) >= 3, (border, ground)
