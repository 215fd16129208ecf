"""Counters and gauges as Prometheus reads them."""

from collections.abc import Mapping
from itertools import groupby


def exposition(values: Mapping[str, float]) -> str:
    """Return the text format of values by name, labels included; those of one name stand together."""
    lines = []
    for family, members in groupby(sorted(values, key=lambda name: name.partition("{")), key=_family):
        kind = "counter" if family.endswith("_total") else "gauge"
        lines.append(f"# TYPE {family} {kind}")
        lines += [f"{name} {float(values[name])!r}" for name in members]
    return "\n".join([*lines, ""])


def _family(name: str) -> str:
    return name.partition("{")[0]
