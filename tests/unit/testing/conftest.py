"""Here `mint` is the plugin's, not the server's own tests'."""

from mintmark.testing.plugin import mint

__all__ = ["mint"]
