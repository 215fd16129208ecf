"""``mintmark doctor``: what is wrong, and how to mend it."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from mintmark.cli.output import emit_json, printable
from mintmark.cli.parameters import chosen_config, config_option, example, json_option
from mintmark.cli.refusal import Refusal

if TYPE_CHECKING:
    from mintmark.cli.examination import Finding
    from mintmark.config import Settings

_MARKS = {"ok": ("ok     ", "green"), "problem": ("PROBLEM", "red"), "skipped": ("skipped", "yellow")}


@click.command("doctor", epilog=example("mintmark doctor", "mintmark doctor --json | python3 -m json.tool"))
@config_option
@json_option
def command(as_json: bool) -> None:
    """Find out what is wrong, and how to mend it.

    Looks at settings, files, keys, registrations and the running server, and changes nothing. Exit code 1 if there is a
    problem.
    """
    findings = _examine()
    is_well = all(finding.status != "problem" for finding in findings)
    if as_json:
        emit_json({"well": is_well, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark, colour = _MARKS[finding.status]
            click.echo(f"{click.style(mark, fg=colour)}  {finding.check}: {printable(finding.what)}")
            if finding.remedy:
                click.echo(f"         -> {printable(finding.remedy)}")
        count = sum(finding.status == "problem" for finding in findings)
        click.echo("All is well." if is_well else f"{count} problem{'s' if count > 1 else ''} found.")
    click.get_current_context().exit(0 if is_well else 1)


def _examine() -> "list[Finding]":
    from mintmark.cli import logs  # noqa: PLC0415
    from mintmark.cli.examination import Finding, examine_database, examine_server  # noqa: PLC0415
    from mintmark.config import ConfigError, load  # noqa: PLC0415

    logs.configure("warning", "console")
    try:
        settings = load(config_file=chosen_config())
        settings.required_master_key()
    except ConfigError as error:
        remedy = "mend it as it says; docs/configuration.md lists every setting, `mintmark init` makes a set that works"
        return [Finding("settings", "problem", problem, remedy) for problem in error.problems]
    findings = [Finding("settings", "ok", f"issuer {settings.issuer}"), *examine_database(settings)]
    if findings[-1].status == "ok":
        findings += asyncio.run(_look_inside(settings))
    return [*findings, examine_server(settings)]


async def _look_inside(settings: "Settings") -> "list[Finding]":
    from mintmark.cli.examination import Finding, examine_authority  # noqa: PLC0415
    from mintmark.cli.opening import attached  # noqa: PLC0415

    findings: list[Finding] = []
    try:
        async with attached(settings) as authority:
            async for finding in examine_authority(authority):
                findings.append(finding)  # noqa: PERF401 - what was found before a failure counts
    except Refusal as refusal:
        remedy = "check that this user may write the file and its folder, and that the disk has room"
        findings.append(Finding("database", "problem", refusal.message, remedy))
    return findings
