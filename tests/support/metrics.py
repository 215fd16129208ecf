"""What an authority says of itself on the port of its metrics."""

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from mintmark.authority.core import Authority
from mintmark.system.metrics import FeedLag, Metrics, application


class Shown:
    """One reading of all metrics.

    Attributes:
        text: As it came.
        families: Type of each metric, by the name that samples have in queries.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, str] = {}
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in text_string_to_metric_families(text):
            self.families[family.name + ("_total" if family.type == "counter" else "")] = family.type
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self._samples, f"twice: {sample}"
                self._samples[key] = sample.value

    def __call__(self, name: str, **labels: str) -> float | None:
        """Return the value of one sample of ``mintmark_``, ``None`` if it is not there."""
        return self._samples.get((f"mintmark_{name}", frozenset(labels.items())))

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """Return the samples of one name that are not 0, by the values of their labels in alphabetical order."""
        return {
            tuple(value for _, value in sorted(labels)): found
            for (sample, labels), found in self._samples.items()
            if sample == f"mintmark_{name}" and found
        }


async def read_metrics(authority: Authority, lag: FeedLag | None = None, **request: Any) -> Shown:
    """Read all metrics of ``authority``."""
    app = application(Metrics(authority, lag or FeedLag(authority.denylist)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://metrics.example") as http:
        response = await http.get("/metrics", **request)
    assert response.status_code == 200, response.text
    return Shown(response.text)
