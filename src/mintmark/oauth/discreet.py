"""Values that hold secrets, and say nothing of them."""

from typing import Any

import msgspec


class Discreet(msgspec.Struct, frozen=True):
    """A value that shows its type only, in exceptions, logs and debuggers.

    Every request makes several of these: a frozen dataclass would take ten times as long to make.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []
