"""Which requests may pass, and what each has to bring: a table of routes, looked up by path and method.

Rules:
- a route is for its path and everything below it: ``/orders`` for ``/orders`` and ``/orders/7``, not for ``/orders2``;
- the longest path wins, and it alone decides: if no route of that path is for the method, the request is refused, even
  if a shorter path would let it pass;
- a route without methods is for those that no other route of its path names; ``HEAD`` goes with ``GET``;
- case matters, but a path that differs from a route's only in case is refused: the service might not care about case;
- what matches no route is refused.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mintmark.verifier.bearer import Requirement
from mintmark.verifier.guard.paths import Segments, Unreadable

METHOD: Final = re.compile(r"[A-Z](?:[A-Z-]{0,30}[A-Z])?")
"""Methods that nobody takes for another by changing their case."""


@dataclass(frozen=True, slots=True)
class Route:
    """What the requests to one path have to bring.

    Attributes:
        path: As it was written; for people.
        segments: The path, decoded.
        methods: The methods it is for; ``None`` for all that no other route of this path names.
        requirement: What the token must have; ``None`` if no token is needed.
    """

    path: str
    segments: Segments
    methods: frozenset[str] | None
    requirement: Requirement | None


class Routes:
    """All routes.

    Args:
        routes: In any order.

    Raises:
        ValueError: Two are for the same requests, or their paths differ only in case.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._paths: dict[Segments, dict[str | None, Route]] = {}
        for route in routes:
            same = self._paths.setdefault(_folded(route.segments), {})
            if any(other.segments != route.segments for other in same.values()):
                raise ValueError(f"another path differs from {route.path} only in case")
            for method in _with_head(route.methods):
                if method in same:
                    raise ValueError(f"two routes are for {method or 'the other methods'} of {route.path}")
                same[method] = route
        self._longest = max(map(len, self._paths), default=0)

    def find(self, method: str, segments: Segments) -> Route | None:
        """Return the route of a request; ``None`` if it has none.

        Raises:
            Unreadable: It would have another route if case did not matter.
        """
        here = self._deepest(segments)
        if here is None:
            return None
        route = here.get(method, here.get(None))
        if route is not None and route.segments != segments[: len(route.segments)]:
            raise Unreadable("as the path of a route, but for its case")
        return route

    def _deepest(self, segments: Segments) -> Mapping[str | None, Route] | None:
        folded = _folded(segments[: self._longest])
        for length in range(len(folded), -1, -1):
            here = self._paths.get(folded[:length])
            if here is not None:
                return here
        return None


def _folded(segments: Segments) -> Segments:
    return tuple(segment.casefold() for segment in segments)


def _with_head(methods: frozenset[str] | None) -> Sequence[str | None]:
    if methods is None:
        return [None]
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)
