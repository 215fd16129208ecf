"""Pages and redirects as replies: the templates, and the headers that every reply of this edge carries.

Rules:
1. Whatever a person or a client wrote is escaped: autoescape is on for every template, and no template marks it safe.
2. A redirect is a 303, so that no browser repeats a form, and the password in it, elsewhere (RFC 9700 §4.12).
3. Nothing here may be framed, stored, sniffed or read by another origin; no script runs but the one of ``form_post``.
"""

from typing import Final
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from mintmark.asgi import Headers, Reply
from mintmark.authority.policy import Policy
from mintmark.pages import stylesheet, words

_TEMPLATES: Final = Environment(
    loader=PackageLoader("mintmark.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_TEMPLATES.filters |= {"moment": words.moment, "iso": words.iso, "duration": words.duration}

_DEFAULT_PORTS: Final = {"https": ":443", "http": ":80"}


def is_https(policy: Policy) -> bool:
    """Tell whether browsers reach us over TLS; if not, this is a trial on loopback."""
    return policy.issuer.startswith("https:")


def host(policy: Policy) -> str:
    """Return the host that people see in the address bar."""
    return urlsplit(policy.issuer).netloc


def origin(policy: Policy) -> str:
    """Return our origin as browsers write it (RFC 6454 §6.2: without the default port)."""
    parts = urlsplit(policy.issuer)
    return f"{parts.scheme}://{parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])}"


def prefix(policy: Policy) -> str:
    """Return what stands before every path that we emit: the issuer's own path, mostly nothing."""
    path = urlsplit(policy.issuer).path.strip("/")
    return f"/{path}" if path else ""


def page(
    policy: Policy,
    template: str,
    *,
    status: int = 200,
    headers: Headers = (),
    leads_to_client: bool = False,
    script_nonce: str | None = None,
    **values: object,
) -> Reply:
    """Return a page.

    Args:
        policy: Says under which address we are reached.
        template: File in ``templates``.
        status: HTTP status.
        headers: Further headers.
        leads_to_client: Whether a form of the page may end at an application, by redirects too.
        script_nonce: Allows the one script that carries it.
        **values: What the template shows.
    """
    text = _TEMPLATES.get_template(template).render(
        prefix=prefix(policy), host=host(policy), stylesheet=stylesheet.PATH, script_nonce=script_nonce, **values
    )
    security = _security_headers(policy, script_nonce, leads_to_client=leads_to_client)
    return Reply(status, text.encode(), ((b"content-type", b"text/html; charset=utf-8"), *security, *headers))


def see_other(policy: Policy, location: str, headers: Headers = ()) -> Reply:
    """Send the browser to ``location`` by GET: a path of ours, or a checked URL of a client."""
    target = prefix(policy) + location if location.startswith("/") else location
    return Reply(
        303,
        b"",
        ((b"location", target.encode("ascii")), *_security_headers(policy, None, leads_to_client=True), *headers),
    )


def _security_headers(policy: Policy, script_nonce: str | None, *, leads_to_client: bool) -> Headers:
    directives = [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' data:",
        # Browsers hold every redirect after a form to this, the application's own included, and where that one goes
        # next we cannot know: the person would be left with a dead button.
        *([] if leads_to_client else ["form-action 'self'"]),
        "frame-ancestors 'none'",
        "base-uri 'none'",
        *([] if script_nonce is None else [f"script-src 'nonce-{script_nonce}'"]),
    ]
    headers: Headers = (
        (b"content-security-policy", "; ".join(directives).encode("ascii")),
        (b"x-frame-options", b"DENY"),
        # With no-referrer, browsers would send `Origin: null` with our own forms.
        (b"referrer-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        # An application that opened us in a popup waits for its own window to come back.
        *(() if leads_to_client else ((b"cross-origin-opener-policy", b"same-origin"),)),
    )
    if not is_https(policy):
        return headers
    return (*headers, (b"strict-transport-security", b"max-age=31536000"))
