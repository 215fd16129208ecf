"""The background work of a node: it hears of revocations whatever becomes of the rest (invariant I6)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs
from tests.support.feed import TroubledStore, failing, settle
from tests.support.installation import Installation, install

from mintmark import bootstrap
from mintmark.authority.ports import StoreUnavailableError
from mintmark.bootstrap import hearing, repeating, working
from mintmark.storage.memory import MemoryStore

pytestmark = pytest.mark.spec("invariant I6")
HEARING, KEYS, UPKEEP = "revocations.after", "keys.signing_keys", "leases.get"


async def hang() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def store() -> TroubledStore:
    return TroubledStore(MemoryStore())


@pytest.fixture
async def mint(store: TroubledStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    """A node that does its chores without a pause."""
    for module, name in ((hearing, "_HEAR_EVERY"), (working, "_LOOK_EVERY"), (repeating, "_TRY_AGAIN_IN")):
        monkeypatch.setattr(module, name, 0.0)
    mint = await install(store=store.as_store())
    async with bootstrap.chores(mint.authority, cleanup_interval=0, cleanup_batch=10):
        yield mint
    assert not any(task.get_name().startswith("mintmark") for task in asyncio.all_tasks())


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await settle()


def is_called_again(store: TroubledStore, verb: str) -> Callable[[], bool]:
    """Return what tells whether the verb was called thrice from now on."""
    store.watch()
    return lambda: store.calls.count(verb) > 2


async def test_a_cleanup_that_hangs_does_not_hold_up_the_keys(mint: Installation, store: TroubledStore) -> None:
    """The leader would go on signing with a key that was retired because it leaked (invariant I7)."""
    store.troubles["sweep"] = hang
    store.watch()
    await until(lambda: "sweep" in store.calls)
    await until(is_called_again(store, KEYS))


@pytest.mark.parametrize("verb", [KEYS, UPKEEP, "sweep"])
async def test_chores_that_hang_do_not_hold_up_hearing_of_revocations(
    mint: Installation, store: TroubledStore, verb: str
) -> None:
    store.troubles[verb] = hang
    store.watch()
    await until(lambda: verb in store.calls)
    heard = mint.authority.denylist.pulls
    await until(lambda: mint.authority.denylist.pulls > heard + 10)


async def test_hearing_of_revocations_that_hangs_does_not_hold_up_the_keys(
    mint: Installation, store: TroubledStore
) -> None:
    store.troubles[HEARING] = hang
    store.watch()
    await until(lambda: HEARING in store.calls)
    await until(is_called_again(store, UPKEEP))
    await until(is_called_again(store, "sweep"))


@pytest.mark.parametrize(
    ("error", "said"),
    [(StoreUnavailableError("the database is away"), "store unavailable"), (ValueError("odd"), "upkeep failed")],
)
@pytest.mark.parametrize(("verb", "during"), [(HEARING, "hearing"), (UPKEEP, "upkeep"), (KEYS, "looking at keys")])
async def test_a_failure_is_logged_and_ends_nothing(
    mint: Installation, store: TroubledStore, error: Exception, said: str, verb: str, during: str
) -> None:
    """What failed is tried again, and the other goes on meanwhile."""
    store.troubles[verb] = failing(error)
    with capture_logs() as logs:
        await until(is_called_again(store, verb))
        await until(is_called_again(store, UPKEEP if verb == HEARING else HEARING))
    told = {(entry["event"], entry["during"]) for entry in logs if "during" in entry}
    assert (said, during) in told
    # The cleanup reads the keys as well.
    assert told <= {(said, during)} | ({(said, "upkeep")} if verb == KEYS else set())
    store.troubles = {}
    heard = mint.authority.denylist.pulls
    await until(lambda: mint.authority.denylist.pulls > heard)
    await until(is_called_again(store, "sweep"))
