"""A web application that signs people in and out with mintmark, by Starlette and Authlib.

pip install starlette authlib httpx2 itsdangerous uvicorn
CLIENT_ID=my-app CLIENT_SECRET=mms_... python login.py
"""

import html
import os
import secrets
from urllib.parse import urlencode

import uvicorn
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

PORT = int(os.environ.get("PORT", "8000"))
ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8080")

oauth = OAuth()
oauth.register(
    "mintmark",
    server_metadata_url=ISSUER + "/.well-known/openid-configuration",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
)


async def home(request: Request) -> Response:
    """Say who is signed in."""
    name = request.session.get("name")
    if name is None:
        return HTMLResponse('<a href="/login">Sign in</a>')
    return HTMLResponse(f'Hello, {html.escape(name)}. <a href="/logout">Sign out</a>')


async def login(request: Request) -> Response:
    """Send the person to mintmark."""
    response: Response = await oauth.mintmark.authorize_redirect(request, f"http://127.0.0.1:{PORT}/callback")
    return response


async def callback(request: Request) -> Response:
    """Take the person back, with tokens, or with the reason why there are none."""
    try:
        token = await oauth.mintmark.authorize_access_token(request)
    except OAuthError as error:
        reason = html.escape(error.description or error.error)
        return HTMLResponse(f'Not signed in: {reason}. <a href="/">Back</a>', status_code=400)
    person = await oauth.mintmark.userinfo(token=token)
    request.session.update(name=person.get("name") or person["email"], id_token=token["id_token"])
    return RedirectResponse("/", status_code=303)


async def logout(request: Request) -> Response:
    """Sign out here, and at mintmark."""
    hint = request.session.pop("id_token", "")
    request.session.clear()
    metadata = await oauth.mintmark.load_server_metadata()
    return RedirectResponse(f"{metadata['end_session_endpoint']}?{urlencode({'id_token_hint': hint})}", status_code=303)


app = Starlette(
    routes=[Route("/", home), Route("/login", login), Route("/callback", callback), Route("/logout", logout)],
    middleware=[Middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32))],
)

if __name__ == "__main__":
    print(f"Open http://127.0.0.1:{PORT}")  # noqa: T201 - for who has just started it
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
