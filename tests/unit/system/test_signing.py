"""Where signatures are made."""

import threading
from typing import Any

import pytest
from tests.unit.jose.jose_keys import key

from mintmark.jose import jws
from mintmark.jose.algorithms import Algorithm
from mintmark.system.signing import PoolSigner


@pytest.mark.parametrize(
    ("alg", "threads", "cores", "is_on_a_thread"),
    [
        ("RS256", 2, 2, True),
        ("PS256", 1, 8, True),
        ("RS256", 2, 1, False),
        ("RS256", 0, 2, False),
        ("ES256", 2, 2, False),
        ("EdDSA", 2, 2, False),
    ],
)
async def test_only_what_is_slow_goes_to_a_thread_and_only_where_there_is_a_core_for_it(
    monkeypatch: pytest.MonkeyPatch, alg: Algorithm, threads: int, cores: int, is_on_a_thread: bool
) -> None:
    where = []

    def noted(*arguments: Any) -> bytes:
        where.append(threading.current_thread() is not threading.main_thread())
        return signed(*arguments)

    signed = jws.sign_input
    monkeypatch.setattr(jws, "sign_input", noted)
    signer, signing = PoolSigner(threads, cores), key(alg)
    message = jws.signing_input(b"{}", signing, None)
    assert jws.verify(jws.assemble(message, await signer.sign(signing, message)), signing).payload == b"{}"
    assert where == [is_on_a_thread]
    assert signer.usage == {"busy": 0, "size": threads if threads and cores > 1 else 0, "waiting": 0}
    signer.close()
