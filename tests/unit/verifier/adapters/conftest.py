"""The issuer of the tests of services, instead of the server's own."""

from mintmark.testing.plugin import mint

__all__ = ["mint"]
