"""The route table of the JSON edge."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from mintmark.asgi import ASGIApp, Incoming, Render, Reply, Stream, endpoint
from mintmark.authority.core import Authority
from mintmark.authority.metadata import PATHS, PREFIX
from mintmark.oauth.errors import OAuthError
from mintmark.web import health, introspect, revocations, revoke, token, userinfo, well_known
from mintmark.web.rendering import bearer_error_reply, error_reply
from mintmark.web.streaming import Feed

Answer = Callable[[Authority, Incoming], Awaitable[Reply | Stream]]


def web_routes(authority: Authority, feed: Feed) -> dict[str, ASGIApp]:
    """Return every JSON endpoint by its path."""
    route = partial(_route, authority)
    post, get, both = ("POST",), ("GET",), ("GET", "POST")
    issuer_path = urlsplit(authority.policy.issuer).path
    documents = [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ]
    if issuer_path:
        # RFC 8414 §3.1 inserts the well-known part before the issuer's path; OIDC Discovery §4 appends it.
        documents += [f"{document}{issuer_path}" for document in documents]
    routes = (
        route(PATHS["token_endpoint"], token.token, post, is_cors=True),
        route(PATHS["introspection_endpoint"], introspect.introspect, post),
        route(PATHS["userinfo_endpoint"], userinfo.userinfo, both, render=bearer_error_reply, is_cors=True),
        route(PATHS["revocation_endpoint"], revoke.revoke, post, is_cors=True),
        route(PATHS["revocations_endpoint"], partial(revocations.revocations, feed), get),
        route(PATHS["jwks_uri"], well_known.jwks, get, is_cors=True),
        *(route(path, well_known.metadata, get, is_cors=True) for path in documents),
        route("/livez", health.livez, get),
        route("/readyz", partial(health.readyz, feed), get),
    )
    return dict(routes)


UNKNOWN_BELOW: Final = (f"{PREFIX}/", "/.well-known/")
"""Below these, what is not there is answered in the protocol's dialect too."""


def unknown_endpoint(authority: Authority) -> ASGIApp:
    """Return what answers there."""

    async def refuse(_incoming: Incoming) -> Reply:
        raise OAuthError("invalid_request", "There is no such endpoint", status=404)

    return endpoint(refuse, ("GET", "POST"), error_reply, path="(unknown)", meter=authority.meter)


def _route(
    authority: Authority,
    path: str,
    answer: Answer,
    methods: Iterable[str],
    *,
    render: Render = error_reply,
    is_cors: bool = False,
) -> tuple[str, ASGIApp]:
    handler = partial(answer, authority)
    return path, endpoint(handler, methods, render, path=path, is_cors=is_cors, meter=authority.meter)
