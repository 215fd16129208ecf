"""Who is slowed down when guesses fail: accounts and addresses, never everybody (ASVS 6.3.1)."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from mintmark.authority.sharing import Limiter

_ACCOUNT: Final = (5, 30)
_ADDRESS: Final = (300, 1)


def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 that one IPv6 subscriber has."""
    return _network(address, 64)


def _network(address: str, prefix_length: int) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, prefix_length), strict=False).network_address)
    return str(parsed)


def network_of(address: str) -> str:
    """Return what one party may hold the whole of: an IPv4 address, or an IPv6 /48."""
    return _network(address, 48)


class SignInAttempt:
    """One attempt at an account from an address: charged to both before the password is looked at.

    Attributes:
        network: Whose attempts take turns with those of others.
    """

    def __init__(self, limiter: Limiter, *, account: str, address: str) -> None:
        source = source_of(address)
        self._limiter = limiter
        self._charges = (("sign-in", f"{source} {account}", _ACCOUNT), ("sign-in source", source, _ADDRESS))
        self.network = network_of(address)

    async def charge(self) -> int:
        """Charge it; return 0, or after how many seconds to try again (then nothing is charged)."""
        charged: list[tuple[str, str, int]] = []
        for purpose, who, (burst, period) in self._charges:
            if wait := await self._limiter.take(purpose, who, burst=burst, period=period):
                for paid_purpose, paid_who, paid_period in charged:
                    await self._limiter.give_back(paid_purpose, paid_who, period=paid_period)
                return wait
            charged.append((purpose, who, period))
        return 0

    async def refund(self) -> None:
        """Take the charge back: it was no guess, or nobody judged it."""
        for purpose, who, (_, period) in self._charges:
            await self._limiter.give_back(purpose, who, period=period)
