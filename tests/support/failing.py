"""A store that fails at the verb it is told to, before or after doing the work."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from mintmark.authority.ports import Store, StoreUnavailableError


class FailingStore:
    """Counts the verbs called and fails at one of them.

    Attributes:
        calls: Names of the verbs called since ``watch``, such as ``grants.advance``.
        fail_at: Index in ``calls`` of the verb that fails; ``None`` for none.
        does_the_work: Fail only after the work is done: the commit was made and the answer to it was lost.
        error: What is raised.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.watch()

    def watch(self, fail_at: int | None = None, *, does_the_work: bool = False, error: Exception | None = None) -> None:
        """Start counting anew."""
        self.calls: list[str] = []
        self.fail_at = fail_at
        self.does_the_work = does_the_work
        self.error = error or StoreUnavailableError("the database is away")

    async def call(self, name: str, verb: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Call a verb, or fail."""
        self.calls.append(name)
        is_due = self.fail_at == len(self.calls) - 1
        if is_due and not self.does_the_work:
            raise self.error
        result = await verb(*args, **kwargs)
        if is_due:
            raise self.error
        return result

    def as_store(self) -> Store:
        """Return itself as the port."""
        return cast("Store", self)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)
        return self._wrap(name, member) if callable(member) else _Port(self, name, member)

    def _wrap(self, name: str, verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        return lambda *args, **kwargs: self.call(name, verb, *args, **kwargs)


class _Port:
    def __init__(self, store: FailingStore, name: str, port: Any) -> None:
        self._store = store
        self._name = name
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return self._store._wrap(f"{self._name}.{name}", getattr(self._port, name))
