"""Keys made once for a whole run: generating and opening an RSA key takes a tenth of a second each."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mintmark.jose import jwk
from mintmark.jose.algorithms import Algorithm
from mintmark.jose.jwk import Key


class KeyPool:
    """Stands in for ``jwk.generate`` and ``jwk.from_jwk``. Within one test no key comes twice."""

    def __init__(self) -> None:
        self._keys: dict[Algorithm, list[Key]] = defaultdict(list)
        self._opened: dict[str, Key] = {}
        self._generate = jwk.generate
        self._from_jwk = jwk.from_jwk

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Serve keys from the pool, from its beginning."""
        given: dict[Algorithm, int] = defaultdict(int)

        def generate(alg: Algorithm) -> Key:
            if given[alg] == len(self._keys[alg]):
                key = self._generate(alg)
                self._keys[alg].append(key)
                self._opened[key.kid] = key
            given[alg] += 1
            return self._keys[alg][given[alg] - 1]

        def from_jwk(value: dict[str, Any], *, alg: Algorithm | None = None, **other: Any) -> Key:
            known = self._opened.get(value.get("kid", "")) if "d" in value else None
            return known if known is not None else self._from_jwk(value, alg=alg, **other)

        with patch.object(jwk, "generate", generate), patch.object(jwk, "from_jwk", from_jwk):
            yield
