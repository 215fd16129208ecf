"""Adapters for the store ports: where mintmark keeps what it must remember."""
