"""What a person changes at ``/account``. Each is a POST of our own form and goes back to the page by GET."""

from mintmark.asgi import Headers, Incoming, Reply
from mintmark.authority import people
from mintmark.authority.core import Authority
from mintmark.authority.login import end_session, open_session
from mintmark.authority.people import UnacceptableError
from mintmark.oauth.parameters import Parameters
from mintmark.pages import rendering, steps
from mintmark.pages.account import Visitor, account_page, visitor_of
from mintmark.pages.browser import cookie_of, own_form, set_cookie
from mintmark.pages.logout import leave


async def withdraw(authority: Authority, incoming: Incoming) -> Reply:
    """Take back what an application was allowed; its tokens end (ASVS 10.7.3)."""
    form, visitor = await _form_of_visitor(authority, incoming)
    if visitor is None:
        return _sign_in_first(authority)
    client_id = form.get("client_id")
    if client_id is not None:
        await people.withdraw_consent(authority, visitor.user.subject, client_id)
    return _done(authority, "withdrawn")


async def end_other_session(authority: Authority, incoming: Incoming) -> Reply:
    """Sign out one of the person's own browsers; one that is not theirs, or gone already, changes nothing."""
    form, visitor = await _form_of_visitor(authority, incoming)
    if visitor is None:
        return _sign_in_first(authority)
    sid = form.get("sid")
    if sid == visitor.session.sid:
        return await leave(authority, visitor.session)
    own = {session.sid for session in await authority.store.sessions.of(visitor.user.subject)}
    if sid in own:
        await end_session(authority, sid, visitor.user.subject)
    return _done(authority, "ended")


async def change_password(authority: Authority, incoming: Incoming) -> Reply:
    """Change the password; needs the current one (ASVS 6.2.3)."""
    form, visitor = await _form_of_visitor(authority, incoming)
    if visitor is None:
        return _sign_in_first(authority)
    current, new = form.get("current_password"), form.get("new_password")
    if current is None or new is None:
        return await account_page(authority, visitor, problem="Fill in both passwords.", status=400)
    try:
        user = await people.change_password(
            authority, visitor.user, current=current, new=new, except_sid=visitor.session.sid
        )
    except UnacceptableError as problem:
        return await account_page(authority, visitor, problem=f"{str(problem).rstrip('.')}.", status=400)
    # ASVS 7.2.4: whoever else holds a copy of this browser's cookie is out as well.
    signed_in = await open_session(authority, user, cookie_of(authority.policy, incoming), visitor.session.user_agent)
    if signed_in is None:
        return _sign_in_first(authority)
    return _done(authority, "password", set_cookie(authority.policy, signed_in.cookie))


async def sign_out(authority: Authority, incoming: Incoming) -> Reply:
    """Sign this browser out."""
    _, visitor = await _form_of_visitor(authority, incoming)
    return await leave(authority, None if visitor is None else visitor.session)


async def _form_of_visitor(authority: Authority, incoming: Incoming) -> tuple[Parameters, Visitor | None]:
    form = own_form(authority.policy, incoming, again=steps.ACCOUNT)
    return form, await visitor_of(authority, incoming)


def _sign_in_first(authority: Authority) -> Reply:
    return rendering.see_other(authority.policy, steps.LOGIN)


def _done(authority: Authority, what: str, headers: Headers = ()) -> Reply:
    return rendering.see_other(authority.policy, f"{steps.ACCOUNT}?done={what}", headers)
