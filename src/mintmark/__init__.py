"""mintmark: the token authority for microservices."""

__version__ = "0.1.0"
