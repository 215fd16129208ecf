"""What the errors of PostgreSQL and of the way to it mean (PostgreSQL, Appendix A).

1. What cannot have changed anything may be done again: whatever failed before COMMIT was sent, and whatever the server
   answered that it rolled back.
2. A write to which no answer came is never done again: nobody knows what became of it, and the caller is told so
   (invariant I4).
3. A mistake of ours stays visible as it is: taken for an outage it would have clients retry for ever.
"""

from typing import Final, NoReturn

import asyncpg

from mintmark.authority.ports import AlreadyExistsError, StoreUnavailableError

NO_ANSWER: Final = (OSError, asyncpg.InternalClientError)
"""What is raised where a connection breaks, beside errors of the server's that end it."""

READ_ONLY: Final = "25006"
# Rolled back: serialization failure, deadlock, a server that takes no writes (a standby).
_ROLLED_BACK: Final = frozenset({"40001", "40P01", READ_ONLY})
# Class 08: no connection. 57P01 and on: the server stops or starts. 40003: not even the server knows.
_LOST: Final = ("08", "57P", "40003")
# By class: mistakes of ours; except that what the role may not do is the operator's to mend.
_OUR_FAULT: Final = frozenset({"0A", "21", "22", "23", "25", "26", "34", "42"})
_NOT_ALLOWED: Final = "42501"
# Class 53: connections, memory or disk are used up.
_NO_ROOM: Final = "53"
# No password will do, no such database: the next attempt would be told the same.
_REFUSED: Final = ("28", "3D")


class LostConnectionError(Exception):
    """The connection went before there was an answer, or could not be made."""


class NoRoomError(LostConnectionError):
    """The server is there, and takes no further connection for now."""


class UnknownOutcomeError(Exception):
    """A write was sent, and nobody knows whether it was committed."""


class NoPrimaryError(Exception):
    """The server takes no writes; that changes when a failover is over."""


FAILURES: Final = (asyncpg.PostgresError, LostConnectionError, UnknownOutcomeError, NoPrimaryError)
"""What a question to the database may end with; whatever else is raised is a mistake of ours."""


def code_of(error: BaseException) -> str:
    """Return the SQLSTATE that the server gave; empty if ``error`` did not come from it."""
    return str(error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def is_answer(error: asyncpg.PostgresError) -> bool:
    """Tell whether the server goes on, and has rolled back what it was asked for."""
    severity = getattr(error, "severity_en", None) or getattr(error, "severity", None)
    return severity != "FATAL" and not code_of(error).startswith(_LOST)


def is_refusal(error: BaseException) -> bool:
    """Tell whether the server does not want this user, whenever they come."""
    return code_of(error).startswith(_REFUSED) or isinstance(error, asyncpg.ClientConfigurationError)


def is_no_room(error: BaseException) -> bool:
    """Tell whether the server has no connection left for us; those that we have may serve."""
    return code_of(error).startswith(_NO_ROOM)


def is_stale(error: BaseException) -> bool:
    """Tell whether a prepared statement is gone or no longer fits the tables; it was not executed."""
    return isinstance(error, (asyncpg.InvalidCachedStatementError, asyncpg.InvalidSQLStatementNameError))


def may_try_again(error: BaseException) -> bool:
    """Tell whether what ended with ``error`` did nothing and may succeed when it is done again."""
    if isinstance(error, (LostConnectionError, NoPrimaryError)):
        return True
    return code_of(error) in _ROLLED_BACK or is_stale(error)


def tell(error: Exception) -> NoReturn:
    """Raise what the ports promise for ``error``; a mistake of ours goes on as it is.

    Raises:
        AlreadyExistsError: A name is taken.
        StoreUnavailableError: There is no answer, or none that helps.
    """
    code = code_of(error)
    if isinstance(error, asyncpg.UniqueViolationError):
        raise AlreadyExistsError(f"{error.constraint_name} is violated") from error
    if code and code[:2] in _OUR_FAULT and code not in {_NOT_ALLOWED, READ_ONLY}:
        raise error
    raise StoreUnavailableError(f"PostgreSQL: {said(error)}") from error


def said(error: BaseException) -> str:
    """Return the first line of what ``error`` says, or its kind where it says nothing; further lines repeat values."""
    text = str(error.args[0] if code_of(error) else error)
    return text.partition("\n")[0] or type(error).__name__
