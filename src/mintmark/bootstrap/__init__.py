"""The only place where adapters meet ports."""

from mintmark.bootstrap.assembling import application, assemble, running
from mintmark.bootstrap.opening import open_store
from mintmark.bootstrap.working import chores
from mintmark.bootstrap.world import World, real_world

__all__ = ["World", "application", "assemble", "chores", "open_store", "real_world", "running"]
