"""One line of the table, and the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

RESULTS: Final = Path(__file__).parent / "results.json"


class Result(msgspec.Struct, frozen=True):
    """A figure beside its limit.

    Attributes:
        value: The figure, in ``unit``.
        limit: What the same core can do at most, measured just before; ``None`` if there is no such limit.
        ratio: ``value / limit``.
        goal: The least ratio to reach or, where there is no limit, the greatest value; ``None`` if only reported.
        p99_ms: 99 of 100 took at most so many milliseconds.
    """

    scenario: str
    value: float
    unit: str
    limit: float | None
    ratio: float | None
    goal: float | None
    p99_ms: float | None

    @property
    def is_reached(self) -> bool | None:
        """Whether the goal is reached, ``None`` without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.ratio is None else self.ratio >= self.goal


def compared(
    scenario: str, unit: str, rounds: Sequence[tuple[float, float, float | None]], goal: float | None
) -> Result:
    """Return the round with the median ratio; a round is value, limit and p99, if measured."""
    value, limit, p99_ms = sorted(rounds, key=lambda one: one[0] / one[1])[len(rounds) // 2]
    return Result(
        scenario,
        round(value, 1),
        unit,
        round(limit, 1),
        round(value / limit, 3),
        goal,
        None if p99_ms is None else round(p99_ms, 3),
    )


def heading() -> str:
    """Return the first line of the table."""
    return f"{'scenario':46}{'value':>11} {'unit':9}{'limit':>11}{'ratio':>8}{'goal':>8}  {'':4}{'p99 ms':>8}"


def line(result: Result) -> str:
    """Return a line of the table."""
    bound = "" if result.goal is None else f"{'≤' if result.ratio is None else '≥'} {result.goal:g}"
    verdict = {True: "yes", False: "NO", None: ""}[result.is_reached]
    numbers = [_number(result.value, 11), f" {result.unit:9}", _number(result.limit, 11), _number(result.ratio, 8, 2)]
    return f"{result.scenario:46}{''.join(numbers)}{bound:>8}  {verdict:4}{_number(result.p99_ms, 8, 2)}"


def save(results: list[Result]) -> None:
    """Write ``results.json``."""
    lines = ",\n".join("  " + msgspec.json.encode(result).decode() for result in results)
    RESULTS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _number(number: float | None, width: int, digits: int | None = None) -> str:
    if number is None:
        return " " * width
    if digits is None:
        digits = 0 if number >= 1000 else 1
    return f"{number:>{width},.{digits}f}"
