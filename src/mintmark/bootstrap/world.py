"""What tests replace of the world."""

from dataclasses import dataclass

from mintmark.authority.ports import Clock, Randomness
from mintmark.system.clock import SystemClock, SystemRandomness


@dataclass(frozen=True, slots=True)
class World:
    """What tests replace: time, chance and how much work a password is."""

    clock: Clock
    randomness: Randomness
    has_cheap_passwords: bool = False


def real_world() -> World:
    """Return the machine's clock and randomness."""
    return World(SystemClock(), SystemRandomness())
