"""An issuer in memory for the tests of services: a pytest plugin."""
