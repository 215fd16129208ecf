"""What tests of the verifier share."""

from collections.abc import Callable

from mintmark.verifier import TokenRejected, Verifier, VerifierUnavailable

MANY = 1000


def outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except TokenRejected as problem:
        return problem.code
    except VerifierUnavailable:
        return "unavailable"
    return "accepted"


async def outcome_of(made: Verifier, raw: str) -> str:
    try:
        await made.averify(raw)
    except TokenRejected as problem:
        return problem.code
    except VerifierUnavailable:
        return "unavailable"
    return "accepted"
