"""Secrets come from a hidden prompt or from standard input, never from the command line, which others can see."""

import sys

import click

from mintmark.cli.refusal import Refusal


def ask_password(*, from_stdin: bool, prompt: str = "Password") -> str:
    """Return the password of somebody.

    Raises:
        Refusal: Standard input is empty.
    """
    if from_stdin:
        return _first_line("a password")
    try:
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True))
    except click.Abort as error:
        raise Refusal("no password was given; type one, or give it with --password-stdin") from error


def ask_token() -> str:
    """Return a token from standard input, hidden if a person types it.

    Raises:
        Refusal: There is none.
    """
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
