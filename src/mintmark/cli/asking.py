"""Secrets come from a hidden prompt or from standard input, never from the command line, which others can see."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import click

from mintmark.authority.people import MIN_PASSWORD_CHARS, UnacceptableError
from mintmark.cli.output import say
from mintmark.cli.refusal import Refusal

_TRIES: Final = 3


async def ask_password(check: Callable[[str], Awaitable[None]], *, from_stdin: bool, prompt: str = "Password") -> str:
    """Return the password of somebody. Whoever types it may try again if it is not acceptable.

    Args:
        check: Raises ``UnacceptableError`` if the password is not acceptable.
        from_stdin: It is the first line of standard input.
        prompt: What to ask.

    Raises:
        UnacceptableError: It is not acceptable, for the third time if it was typed.
        Refusal: There is none.
    """
    tries_left = 1 if from_stdin else _TRIES
    while True:
        tries_left -= 1
        asked = f"{prompt} (at least {MIN_PASSWORD_CHARS} characters)"
        password = _first_line("a password") if from_stdin else _typed(asked)
        try:
            await check(password)
        except UnacceptableError as error:
            if not tries_left:
                raise
            say(f"{error}.")
        else:
            return password


def _typed(prompt: str) -> str:
    try:
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True))
    except click.Abort as error:
        raise Refusal("no password was given; type one, or give it with --password-stdin") from error


STRAY: Final[dict[str, Any]] = {"allow_extra_args": True}
"""Context settings of commands that ask for a token."""


def ask_token() -> str:
    """Return a token from standard input, hidden if a person types it.

    Raises:
        Refusal: There is none, or it stands on the command line; commands that ask for one let such arguments through
            (``STRAY``), so that it is not repeated in an error.
    """
    if click.get_current_context().args:
        raise Refusal(
            "a token comes on standard input: others on this machine see the command line; put it into a file, and "
            f"run `{click.get_current_context().command_path} < FILE`"
        )
    if not sys.stdin.isatty():
        return _first_line("a token").strip()
    try:
        return str(click.prompt("Token", hide_input=True, err=True)).strip()
    except click.Abort as error:
        raise Refusal("no token was given; paste it, or pipe it in") from error


def _first_line(what: str) -> str:
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Refusal(f"{what} was expected on standard input, in one line")
    return line
