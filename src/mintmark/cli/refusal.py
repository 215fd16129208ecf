"""How commands say no: why, and what to do next. Exit code 1 for a failure, 2 for wrong usage or settings."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import click


class Refusal(click.ClickException):
    """Something cannot be done; the text says why and what next."""

    exit_code = 1


class Misconfigured(click.ClickException):
    """The settings are not usable.

    Attributes:
        problems: One line each.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        count = "There is a problem" if len(problems) == 1 else f"There are {len(problems)} problems"
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{count} with the settings:\n{listed}\n`mintmark doctor` looks at more than the settings.")
        self.problems = list(problems)


def unknown(kind: str, name: str, known: Iterable[str], plural: str | None = None) -> Refusal:
    """Return the refusal of a name that is not registered, with the nearest that is."""
    nearest = get_close_matches(name.casefold(), list(known), n=1, cutoff=0.5)
    advice = f"did you mean {nearest[0]}?" if nearest else f"`mintmark {plural or kind} list` shows all."
    return Refusal(f"there is no {kind} {name!r}; {advice}")


def taken(kind: str, name: str, called: str = "name") -> Refusal:
    """Return the refusal of a name that somebody has."""
    advice = f"`mintmark {kind} show {name}` shows it. Choose another {called}."
    return Refusal(f"there is a {kind} {name!r} already; {advice}")


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something that cannot be undone.

    Raises:
        Refusal: The answer is no, or nobody is there to answer.
    """
    if is_sure:
        return
    try:
        if click.confirm(question, err=True):
            return
    except click.Abort:
        click.echo(err=True)
    raise Refusal("nothing was changed; say yes, or give --yes to go without the question")
