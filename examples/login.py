"""A web application that signs people in with mintmark, by Starlette and Authlib.

pip install starlette authlib httpx itsdangerous uvicorn
ISSUER=http://127.0.0.1:8080 CLIENT_ID=my-app CLIENT_SECRET=... python login.py
"""

import os
import secrets

import uvicorn
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

PORT = int(os.environ.get("PORT", "8000"))

oauth = OAuth()
oauth.register(
    "mintmark",
    server_metadata_url=os.environ["ISSUER"] + "/.well-known/openid-configuration",
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
)


async def home(request: Request) -> Response:
    """Say who is signed in."""
    name = request.session.get("name")
    return HTMLResponse(f"Hello, {name}" if name else '<a href="/login">Sign in</a>')


async def login(request: Request) -> Response:
    """Send the person to mintmark."""
    response: Response = await oauth.mintmark.authorize_redirect(request, f"http://127.0.0.1:{PORT}/callback")
    return response


async def callback(request: Request) -> Response:
    """Take the person back, with tokens."""
    token = await oauth.mintmark.authorize_access_token(request)
    person = await oauth.mintmark.userinfo(token=token)
    request.session["name"] = person.get("name") or person["email"]
    return RedirectResponse("/", status_code=303)


app = Starlette(
    routes=[Route("/", home), Route("/login", login), Route("/callback", callback)],
    middleware=[Middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32))],
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
