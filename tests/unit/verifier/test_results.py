import threading
from typing import Any

import pytest

from mintmark.verifier.results import _TOKEN_BYTES, Result, ResultCache

SIZE = 10


def result() -> Result:
    """A result; the cache looks at none of it."""
    nothing: Any = None
    return Result(nothing, nothing, nothing, None, nothing, 0.0)


def raw(number: int) -> str:
    return f"{number:0{SIZE}}"


@pytest.mark.spec("S07")
@pytest.mark.parametrize("max_count", [2, 3, 10, 64])
def test_never_more_than_so_many(max_count: int) -> None:
    cache = ResultCache(max_count, 10**9)
    most = 0
    for number in range(1000):
        cache.put(raw(number), result())
        most = max(most, len(cache))
    assert max_count // 2 < most <= max_count
    assert cache.get(raw(999)) is not None


@pytest.mark.spec("S07")
def test_never_more_than_so_many_bytes() -> None:
    room_for = 12
    cache = ResultCache(10**6, room_for * (SIZE + _TOKEN_BYTES))
    most = 0
    for number in range(1000):
        cache.put(raw(number), result())
        most = max(most, len(cache))
    assert most == room_for


@pytest.mark.spec("S07")
def test_long_tokens_count_for_more() -> None:
    cache = ResultCache(10**6, 12 * (SIZE + _TOKEN_BYTES))
    for number in range(100):
        cache.put(raw(number) + "x" * _TOKEN_BYTES, result())
    assert 0 < len(cache) <= 6


def test_what_can_never_fit_is_not_kept() -> None:
    cache = ResultCache(10, 2 * (SIZE + _TOKEN_BYTES))
    cache.put(raw(1), result())
    cache.put(raw(2) + "x", result())
    assert len(cache) == 1
    assert cache.get(raw(2) + "x") is None


def test_keeping_a_token_again_costs_nothing() -> None:
    cache = ResultCache(10**6, 4 * (SIZE + _TOKEN_BYTES))
    cache.put(raw(0), result())
    for _ in range(100):
        cache.put(raw(1), result())
    last = result()
    cache.put(raw(1), last)
    assert cache.get(raw(0)) is not None
    assert cache.get(raw(1)) is last


def test_what_is_asked_for_outlives_what_is_not() -> None:
    cache = ResultCache(20, 10**9)
    asked, forgotten = result(), result()
    cache.put("asked", asked)
    cache.put("forgotten", forgotten)
    for number in range(200):
        cache.put(raw(number), result())
        assert cache.get("asked") is asked
    assert cache.get("forgotten") is None


def test_a_generation_is_what_it_takes_to_forget() -> None:
    cache = ResultCache(20, 10**9)
    first = result()
    cache.put("first", first)
    for number in range(18):
        cache.put(raw(number), result())
    # Not looked for meanwhile, it is in the old generation, and becomes young again.
    assert "first" not in cache.young
    assert cache.get("first") is first
    assert cache.young["first"] is first


def test_what_was_discarded_is_gone_from_both_generations() -> None:
    cache = ResultCache(4, 10**9)
    cache.put("old", result())
    cache.put("one", result())
    cache.put("young", result())
    assert "old" not in cache.young
    assert "young" in cache.young
    cache.discard("old")
    cache.discard("young")
    cache.discard("never there")
    assert cache.get("old") is None
    assert cache.get("young") is None
    assert cache.get("one") is not None


def test_a_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    cache = ResultCache(4, 10**9)
    assert cache._changing.acquire(timeout=1)  # by a thread that the child does not have
    cache.reset_after_fork()
    done = threading.Thread(target=cache.put, args=("x", result()), daemon=True)
    done.start()
    done.join(5)
    assert not done.is_alive()
    assert cache.get("x") is not None


def test_many_threads_keep_the_bounds() -> None:
    cache = ResultCache(50, 10**9)
    wrong: list[str] = []

    def work(seed: int) -> None:
        for number in range(400):
            name = raw((number * 7 + seed) % 90)
            kept = result()
            cache.put(name, kept)
            cache.get(raw(number % 90))
            if number % 5 == 0:
                cache.discard(name)
            if len(cache) > 50 + 8:  # two lengths are not read at one instant
                wrong.append(f"{len(cache)} results")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(cache) <= 50
