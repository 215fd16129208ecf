"""Dashboard, alerts and recording rules name what there is."""

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.installation import Installation
from tests.support.metrics import read_metrics
from tests.unit.deploy.deployed import DEPLOY, documents

FOLDER = DEPLOY / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
(RULES,) = documents(FOLDER / "rules.yaml")
(TESTS,) = documents(FOLDER / "rules_test.yaml")
EVERY_RULE = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in EVERY_RULE if "alert" in rule}
RECORDS = {rule["record"]: rule for rule in EVERY_RULE if "record" in rule}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

OF_PROMETHEUS = {"instance", "job"}
"""Labels that a series has because it was scraped."""
_NAME = r"\b(?:mintmark|process)[a-z0-9_:]+"


def expressions() -> list[str]:
    shown = [target["expr"] for panel in PANELS for target in panel["targets"]]
    return [*shown, *(str(rule["expr"]) for rule in EVERY_RULE)]


def queries() -> list[str]:
    return [variable["definition"] for variable in DASHBOARD["templating"]["list"] if "definition" in variable]


@dataclass
class Redis:
    """What nodes share."""

    is_up: bool = True
    failures: int = 0

    async def check(self) -> None:
        """Answer."""


async def exposed(mint: Installation) -> dict[str, set[str]]:
    """Return the labels of every series that a node with everything shows, by its name."""
    await mint.obtain()
    await mint.refresh("garbage")
    text = (await read_metrics(replace(mint.authority, shared=Redis()))).text
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def test_every_metric_that_is_asked_for_exists(mint: Installation) -> None:
    known = await exposed(mint)
    asked = {name for text in [*expressions(), *queries()] for name in re.findall(_NAME, re.sub(r'"[^"]*"', "", text))}
    assert len(asked) > 30
    assert asked - RECORDS.keys() - known.keys() == set()


async def test_every_label_that_is_matched_exists(mint: Installation) -> None:
    known = await exposed(mint)
    for text in expressions():
        for name, matchers in re.findall(rf"({_NAME}|\bup)\{{([^}}]*)\}}", text):
            labels = set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers)))
            there = _labels_of(RECORDS[name]["expr"]) if name in RECORDS else known[name] | OF_PROMETHEUS
            assert labels <= there, (name, labels - there)


async def test_every_label_that_sums_keep_exists(mint: Installation) -> None:
    known = await exposed(mint)
    every = OF_PROMETHEUS.union(*known.values())
    kept = {label for text in expressions() for label in _labels_of(text)}
    assert kept <= every, kept - every


def _labels_of(text: str) -> set[str]:
    return {label.strip() for found in re.findall(r"\b(?:by|on) *\(([^)]*)\)", text) for label in found.split(",")}


async def test_what_is_told_apart_by_value_is_called_so(mint: Installation) -> None:
    """A misspelt value matches nothing, for ever."""
    text = (await read_metrics(mint.authority)).text
    for name, label in (("mintmark_grant_steps_total", "verdict"), ("mintmark_reuse_total", "kind")):
        there = set(re.findall(rf'^{name}{{{label}="([^"]+)"}}', text, re.MULTILINE))
        asked = {
            value
            for expression in expressions()
            for values in re.findall(rf'(?:{name}|mintmark:[\w:]+)\{{[^}}]*\b{label}=~?"([^"]+)"', expression)
            for value in values.split("|")
        }
        assert asked
        assert asked <= there


def test_the_token_endpoint_is_where_the_rules_look_for_it() -> None:
    named = {value for text in expressions() for value in re.findall(r'endpoint="([^"]+)"', text)}
    assert named == {"/api/v2/auth/token"}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_how_bad_what_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert rule["annotations"].keys() == {"summary", "description"}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_shown_to_fire_and_to_be_silent(alert: str) -> None:
    outcomes = [
        bool(case["exp_alerts"])
        for test in TESTS["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert
    ]
    assert sorted(outcomes) == [False, True]


def test_a_recorded_series_is_used_or_begins_with_our_name() -> None:
    assert all(name.startswith("mintmark:") for name in RECORDS)


def test_the_job_is_called_as_rules_and_dashboard_call_it() -> None:
    (settings,) = documents(FOLDER / "prometheus.yaml")
    jobs = [job["job_name"] for job in settings["scrape_configs"]]
    named = {value for text in [*expressions(), *queries()] for value in re.findall(r'job="([^"]+)"', text)}
    assert named == set(jobs)
    assert settings["rule_files"] == ["rules.yaml"]


def test_the_dashboard_is_whole() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_asks_the_chosen_prometheus_for_the_chosen_nodes(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == chosen
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert target["datasource"] == chosen
        series = re.findall(rf"(?:{_NAME}|\bup)(\{{[^}}]*\}})?", re.sub(r'"[^"]*mintmark[^"]*"', '""', target["expr"]))
        assert all('instance=~"$instance"' in matchers for matchers in series)
