"""The options that describe a client's registration, and what they mean."""

from collections.abc import Callable, Sequence
from typing import Any, Final, get_args

import click

from mintmark.authority.model import AuthMethod, GrantType
from mintmark.authority.policy import BOUNDS, Classification
from mintmark.cli.parameters import Command
from mintmark.jose.algorithms import Algorithm
from mintmark.oauth.redirect_uri import ApplicationType

_CODE: Final = {"grant_types": ("authorization_code", "refresh_token")}

KINDS: Final[dict[str, dict[str, Any]]] = {
    "service": {"grant_types": ("client_credentials",)},
    "web": _CODE,
    "spa": {**_CODE, "token_endpoint_auth_method": "none"},
    "native": {**_CODE, "token_endpoint_auth_method": "none", "application_type": "native"},
}
"""What goes without saying, by the kind of client."""

_LISTS: Final = {
    "redirect-uri": ("redirect_uris", "Where people are sent back to. May repeat."),
    "post-logout-redirect-uri": ("post_logout_redirect_uris", "Where people are sent after signing out. May repeat."),
    "scope": ("scope", "Scopes it may be granted, separated by spaces. May repeat."),
    "resource": ("resources", "Resource it may ask tokens for. May repeat."),
    "serves": ("serves", "Resource it answers for, so that it may introspect its tokens. May repeat."),
    "role": ("roles", "Role it holds itself. May repeat."),
}
_LIFETIMES: Final = {
    "access_token_lifetime": "Seconds an access token lives",
    "refresh_token_lifetime": "Seconds until the last refresh token of a sign-in dies",
    "refresh_idle_lifetime": "Seconds a refresh token may stay unused",
    "refresh_grace": "Seconds in which a lost response is answered again",
}
SIGNING_ALGORITHMS: Final[tuple[Algorithm, ...]] = tuple(alg for alg in get_args(Algorithm) if alg != "HS256")
"""Those with a public key that others can verify with."""

_OPTIONAL: Final = ("default_resource", "access_token_signed_response_alg", *_LIFETIMES)

CLEARABLE: Final[dict[str, tuple[str, Any]]] = {
    **{option: (field, ()) for option, (field, _) in _LISTS.items()},
    **{field.replace("_", "-").replace("signed-response-", ""): (field, None) for field in _OPTIONAL},
}
"""What ``client update --clear`` takes: the option, the field and what it becomes."""


def defaults_of(kind: str | None, redirect_uris: Sequence[str]) -> dict[str, Any]:
    """Return what goes without saying for a client of ``kind``, or of the kind that its redirect URIs suggest."""
    found = KINDS[kind or ("web" if redirect_uris else "service")]
    if any(uri.startswith("http://") for uri in redirect_uris):  # it runs on its user's machine (RFC 8252 §7.3)
        return {**found, "application_type": "native"}
    return found


def registration_options(command: Command) -> Command:
    """Add every option that describes a registration."""
    for option in reversed(_options()):
        command = option(command)
    return command


def given_fields(options: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of ``Client`` that were given on the command line."""
    fields = {name: value for name, value in options.items() if value is not None and value != ()}
    for name in ("scope", "grant_types"):
        if name in fields:
            fields[name] = tuple(dict.fromkeys(word for text in fields[name] for word in text.split()))
    return fields


def _options() -> list[Callable[[Any], Any]]:
    lists = [click.option(f"--{option}", field, multiple=True, help=what) for option, (field, what) in _LISTS.items()]
    lifetimes = [
        click.option(f"--{name.replace('_', '-')}", name, type=click.IntRange(*BOUNDS[name]), help=f"{what}.")
        for name, what in _LIFETIMES.items()
    ]
    return [
        click.option("--name", help="What people see.  [default: the client_id]"),
        *lists,
        click.option("--default-resource", help="Audience when it names none."),
        click.option(
            "--grant-type", "grant_types", multiple=True, type=_choice(GrantType), help="Instead of those of its kind."
        ),
        click.option(
            "--auth-method", "token_endpoint_auth_method", type=_choice(AuthMethod), help="How it authenticates."
        ),
        click.option("--application-type", type=_choice(ApplicationType), help="Which redirect URIs it may have."),
        click.option("--classification", type=_choice(Classification), help="Security classification: sets lifetimes."),
        click.option("--skip-consent/--ask-consent", "skip_consent", default=None, help="Whether people are asked."),
        click.option("--require-pkce/--no-require-pkce", "require_pkce", default=None, help="Whether PKCE is a must."),
        click.option(
            "--refresh-rotation",
            type=click.Choice(["rotate", "stable"]),
            help="Whether each refresh gives a new refresh token.",
        ),
        click.option(
            "--access-token-alg",
            "access_token_signed_response_alg",
            type=click.Choice(SIGNING_ALGORITHMS),
            help="Algorithm of its access tokens.",
        ),
        click.option(
            "--id-token-alg",
            "id_token_signed_response_alg",
            type=click.Choice(SIGNING_ALGORITHMS),
            help="Algorithm of its ID tokens.",
        ),
        *lifetimes,
    ]


def _choice(literal: Any) -> "click.Choice[str]":
    return click.Choice(list(get_args(literal)))
