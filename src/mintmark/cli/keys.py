"""``mintmark keys``: the signing keys and their schedule."""

import click

from mintmark.authority import keyring as keyrings
from mintmark.authority import keys as schedule
from mintmark.authority.core import Authority
from mintmark.cli.client_options import SIGNING_ALGORITHMS
from mintmark.cli.groups import Group
from mintmark.cli.lookup import find_key
from mintmark.cli.opening import on_authority
from mintmark.cli.output import emit_json, instant, say, show, show_all
from mintmark.cli.parameters import example, json_option, yes_option
from mintmark.cli.refusal import Refusal, confirm
from mintmark.cli.views import key_view
from mintmark.jose.algorithms import Algorithm

_COLUMNS = ("kid", "alg", "state", "published_at", "active_at", "retired_at", "removed_at", "compromised")


@click.group("keys", cls=Group)
def command() -> None:
    """Signing keys: look, rotate, retire, export.

    Keys change by themselves, on a schedule; nothing here has to be done for that.
    """


@command.command("list", epilog=example("mintmark keys list"))
@json_option
@on_authority
async def list_keys(authority: Authority, as_json: bool) -> None:
    """List the keys and where they are on their schedule."""
    now = authority.clock.now()
    rows = [key_view(key, now) for key in authority.keyring.rows]
    show_all(rows, _COLUMNS, as_json=as_json, none="There are no keys yet.")


@command.command("rotate", epilog=example("mintmark keys rotate", "mintmark keys rotate --alg RS256"))
@click.option("--alg", type=click.Choice(SIGNING_ALGORITHMS), help="Only this algorithm.  [default: all that are kept]")
@json_option
@on_authority
async def rotate(authority: Authority, alg: Algorithm | None, as_json: bool) -> None:
    """Let the next key sign as soon as every cache knows it."""
    kept = authority.policy.signing_algorithms
    if alg is not None and alg not in kept:
        raise Refusal(f"no {alg} key is kept here, only {' '.join(kept)}; signing_algorithms in mintmark.toml says so")
    now = authority.clock.now()
    rows = []
    for each in (alg,) if alg is not None else kept:
        successor = await keyrings.rotate(authority.keyring, authority.store, authority.clock, each)
        if successor is None:
            raise Refusal(f"no {each} key waits to take over; `mintmark keys list` shows the schedule, try again soon")
        rows.append(key_view(successor, now))
    show_all(rows, ("kid", "alg", "state", "active_at"), as_json=as_json, none="")
    say("Nothing breaks: the old key stays published until the last token it signed is dead.")


@command.command("retire", epilog=example("mintmark keys retire KID --emergency"))
@click.option("--emergency", is_flag=True, help="The key is compromised: stop trusting it now.")
@yes_option
@json_option
@click.argument("kid")
@on_authority
async def retire(authority: Authority, kid: str, emergency: bool, is_sure: bool, as_json: bool) -> None:
    """Take a compromised key out of use at once. KID may be shortened."""
    key = find_key(authority, kid)
    if not emergency:
        raise Refusal(
            "keys retire by themselves when their successor takes over; `mintmark keys rotate` brings that forward. "
            "If the key is compromised, add --emergency"
        )
    confirm(f"Retire {key.alg} key {key.kid} now and reject every token that it signed?", is_sure=is_sure)
    done = await keyrings.retire_emergency(authority.keyring, authority.store, authority.clock, key.kid)
    if done is None:
        raise Refusal(f"key {key.kid} is gone already; `mintmark keys list` shows what there is")
    now = authority.clock.now()
    show({"kid": key.kid, "alg": key.alg, "retired": True, "signs_again_at": done.signs_again_at}, as_json=as_json)
    say(
        f"{key.alg} signs again {'now' if done.signs_again_at <= now else f'at {instant(done.signs_again_at)}'}. "
        "Running nodes and connected verifiers hear of it within about a second; clients refresh their tokens."
    )


@command.command("export", epilog=example("mintmark keys export > jwks.json"))
@on_authority
async def export(authority: Authority) -> None:
    """Print the public keys as a JWK set, as /.well-known/jwks.json serves them."""
    shown = schedule.published(authority.keyring.rows, authority.clock.now())
    emit_json({"keys": [key.public_jwk for key in shown]})


@command.command(
    "rewrap",
    epilog=example("mintmark keys rewrap"),
)
@json_option
@on_authority
async def rewrap(authority: Authority, as_json: bool) -> None:
    """After a change of the master key: bring all that is stored under the new one.

    First change the settings of every node, and restart it: the new key as master_key, the old one in
    previous_master_keys. Then run this with the same settings; after that the old key can go. Nobody is signed out.
    """
    count = await keyrings.rewrap(authority.keyring, authority.store, authority.clock.now())
    show({"rewrapped": count}, as_json=as_json)
    say(
        "Everything is under the current master key; the earlier ones can be taken out of the settings."
        if count
        else "Everything was under the current master key already; there was nothing to do."
    )
