"""Figures a test has measured, shown in the output of a run in which everything passed."""

import sys

import pytest


def tell(request: pytest.FixtureRequest, line: str) -> None:
    """Print a line past the capture, also from a process of xdist, and keep it in the report."""
    request.node.user_properties.append(("measured", line))
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{request.node.name}: {line}", file=sys.stderr, flush=True)
