"""``mintmark doctor``: what is wrong, and how to mend it."""

import asyncio
import errno
import os
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
        _show(findings)
    click.get_current_context().exit(0 if is_well else 1)


def _show(findings: "list[Finding]") -> None:
    for finding in findings:
        mark, colour = _MARKS[finding.status]
        click.echo(f"{click.style(mark, fg=colour)}  {finding.check}: {_on_one_line(finding.what)}")
        if finding.remedy:
            click.echo(f"         -> {_on_one_line(finding.remedy)}")
    problems, skipped = (sum(finding.status == status for finding in findings) for status in ("problem", "skipped"))
    if problems:
        click.echo(f"{problems} problem{'s' if problems > 1 else ''} found.")
    elif skipped:
        click.echo(f"Nothing is wrong with what could be looked at ({skipped} skipped).")
    else:
        click.echo("All is well.")


def _on_one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _examine() -> "list[Finding]":
    from mintmark.cli import logs
    from mintmark.cli.examination import Finding, examine_database, examine_place, examine_redis, examine_server
    from mintmark.cli.opening import real_world, without_noise
    from mintmark.config import ConfigError, load

    logs.configure("warning", "console")
    try:
        settings = load(config_file=chosen_config())
        settings.required_master_key()
    except ConfigError as error:
        return [Finding("settings", "problem", *_with_remedy(problem)) for problem in without_noise(error.problems)]
    findings = [
        Finding("settings", "ok", f"issuer {settings.issuer}"),
        *examine_place(settings),
        *examine_database(settings),
    ]
    kids = None
    if findings[-1].status == "ok":
        inside, kids = asyncio.run(_look_inside(settings))
        findings += inside
    return [*findings, *examine_redis(settings, real_world().clock), examine_server(settings, kids)]


def _with_remedy(problem: str) -> tuple[str, str]:
    """Return a problem of the settings and how to mend it, which most of them say themselves."""
    if problem.startswith("there is no mintmark.toml"):
        what, _, remedy = problem.partition("; ")
        return what, remedy
    if "is not TOML" in problem:
        return problem, "correct that line; docs/configuration.md lists every setting"
    if problem.endswith(f"cannot be read: {os.strerror(errno.ENOENT)}"):  # the file of a secret
        if problem.lower().removeprefix("mintmark_").startswith("master_key_file"):
            return problem, (
                "restore it from its backup: nothing else opens a database that was written under it; "
                "for a new installation `openssl rand -hex 32` makes one"
            )
        return problem, "restore it from its backup, or take it out of the settings if it is not needed any more"
    if "cannot be read: " in problem:
        return problem, "let this user read it (chown, chmod)"
    return problem, ""


async def _look_inside(settings: "Settings") -> "tuple[list[Finding], set[str] | None]":
    """Return what was found, and the kids of the keys in the database."""
    from mintmark.cli.examination import Finding, examine_authority
    from mintmark.cli.opening import attached

    findings: list[Finding] = []
    kids: set[str] | None = None
    try:
        async with attached(settings) as authority:
            kids = {key.kid for key in await authority.store.keys.signing_keys()}
            async for finding in examine_authority(authority):
                findings.append(finding)  # noqa: PERF401 - what was found before a failure counts
    except Refusal as refusal:
        remedy = "check that this user may write the file and its folder, and that the disk has room"
        findings.append(Finding("database", "problem", refusal.message, remedy))
    return findings, kids
