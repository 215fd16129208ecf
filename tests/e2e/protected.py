"""Applications of a service, for a server that loads them and forks then; every answer says which process gave it.

The verifier was built and used when this module is loaded: with the token in ``USED_WITH``.
"""

import os
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import django
import django.conf
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from flask import Flask

from mintmark.verifier import Verifier
from mintmark.verifier.django import require
from mintmark.verifier.flask import Auth
from mintmark.verifier.wsgi import TOKEN_KEY, BearerMiddleware

SCOPE = "orders:read"

verifier = Verifier.from_env()
verifier.verify(os.environ["USED_WITH"])
loaded_in = os.getpid()

auth = Auth(verifier)
flask_app = Flask(__name__)

django.conf.settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["mintmark.verifier.django.MintmarkConfig"],
    MINTMARK={"verifier": verifier},
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
    ROOT_URLCONF=__name__,
)
django.setup()

from rest_framework.response import Response  # noqa: E402 - reads the settings
from rest_framework.views import APIView  # noqa: E402

from mintmark.verifier import drf  # noqa: E402


def telling(app: WSGIApplication) -> WSGIApplication:
    """Add to every answer in which process the application was loaded, and which one answers."""

    def told(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *problem: Any) -> Any:
            pids = [("x-loaded-in", str(loaded_in)), ("x-answered-by", str(os.getpid()))]
            return start_response(status, [*headers, *pids], *problem)

        return app(environ, start)

    return told


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("content-type", "text/plain")])
    return [environ[TOKEN_KEY].sub.encode()]


by_wsgi = telling(BearerMiddleware(bare, verifier, scope=SCOPE))


@flask_app.get("/")
@auth.require(scope=SCOPE)
def flask_view() -> str:
    return auth.token.sub


by_flask = telling(flask_app.wsgi_app)


@require(scope=SCOPE)
def django_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.token.sub)


class DRFView(APIView):  # type: ignore[misc] # REST framework has no types
    authentication_classes = (drf.BearerAuthentication,)
    permission_classes = (drf.require(scope=SCOPE),)

    def get(self, request: Any) -> Response:
        return Response(request.user.sub)


urlpatterns = [path("", django_view), path("drf", DRFView.as_view())]
by_django = telling(get_wsgi_application())
