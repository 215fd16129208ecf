"""Scopes that a client may be granted and never gets: allowed in a registration, hardly ever meant."""

from mintmark.authority.core import Authority
from mintmark.authority.model import Client
from mintmark.oauth.scope import OPENID_SCOPES


async def scope_problems(client: Client, authority: Authority) -> list[tuple[str, str]]:
    """Say what is odd about the scopes of ``client``, each with what to do."""
    update = f"`mintmark client update {client.client_id}"
    if client.redirect_uris and not client.scope:
        what = "it has redirect URIs but no scope: a sign-in that asks for one, such as openid, is refused"
        return [(what, f"{update} --scope 'openid profile email offline_access'`")]
    landscape = await authority.landscape(client, ())
    lost = [
        scope
        for scope in client.scope
        if scope not in OPENID_SCOPES and not any(landscape.understands(name, scope) for name in landscape.resources)
    ]
    if not lost:
        return []
    what = f"no resource that it may name has the scope {' '.join(lost)}, so it is never granted"
    owners = [each.resource for each in await authority.store.resources.all() if set(lost) <= set(each.scopes)]
    if owners:
        resources = " ".join(f"--resource {name}" for name in (*client.resources, owners[0]))
        return [(what, f"{update} {resources}`")]
    return [(what, f"`mintmark resource create URI --scope '{' '.join(lost)}'`, then {update} --resource URI`")]
