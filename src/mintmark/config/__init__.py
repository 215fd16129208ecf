"""The settings of an installation: read from environment and ``mintmark.toml``, validated once, at start."""

from mintmark.config.keys import MASTER_KEYS
from mintmark.config.loading import load
from mintmark.config.reference import example_toml, reference
from mintmark.config.settings import ConfigError, Settings

__all__ = ["MASTER_KEYS", "ConfigError", "Settings", "example_toml", "load", "reference"]
