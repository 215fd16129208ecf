"""``mintmark audit``: who did what, when."""

import click

from mintmark.authority.core import Authority
from mintmark.cli.groups import Group
from mintmark.cli.lookup import find_user
from mintmark.cli.opening import on_authority
from mintmark.cli.output import show_all
from mintmark.cli.parameters import example, json_option
from mintmark.cli.views import audit_view


@click.group("audit", cls=Group)
def command() -> None:
    """The audit log: who did what, when."""


@command.command(
    "list", epilog=example("mintmark audit list --subject ada@example.com", "mintmark audit list --limit 1000 --json")
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="How many at most.")
@click.option("--subject", metavar="USER", help="Only what concerns this user (email or subject).")
@click.option("--gid", help="Only what concerns this grant.")
@json_option
@on_authority
async def list_events(authority: Authority, limit: int, subject: str | None, gid: str | None, as_json: bool) -> None:
    """List the latest events, newest first."""
    if subject is not None and "@" in subject:  # the log outlives accounts, so a subject need not exist any more
        subject = (await find_user(authority, subject)).subject
    events = await authority.store.audit.latest(limit, subject=subject, gid=gid)
    columns = ("at", "event", "client_id", "subject", "gid", "detail")
    show_all([audit_view(event) for event in events], columns, as_json=as_json, none="Nothing was recorded.")
