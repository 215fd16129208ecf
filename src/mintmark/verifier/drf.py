"""Django REST framework: authentication by access token, and permissions by what the token says.

class Orders(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [require(scope="orders:read")]

    def get(self, request):
        return Response(orders_of(request.auth.sub))

The application has to be installed as `mintmark.verifier.django` says; the verifier is the one of its settings.
"""

from dataclasses import dataclass
from typing import Any, Final

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler as default_exception_handler

from mintmark.verifier.bearer import NOTHING_MORE, Requirement, authorize, sent_token
from mintmark.verifier.django import current_auth
from mintmark.verifier.errors import RequirementNotMet, TokenMissing, VerifierError, VerifierUnavailable
from mintmark.verifier.judging import OnStale
from mintmark.verifier.token import Names, Token
from mintmark.verifier.wsgi import sent

_CHALLENGE: Final = "www-authenticate"


@dataclass(frozen=True, slots=True)
class Caller:
    """``request.user``: whom the token speaks for. No row of a database, and nobody's session.

    Attributes:
        issuer: Who knows them.
        sub: What they are called there; the same elsewhere is somebody else.
    """

    issuer: str
    sub: str

    is_authenticated = True
    is_anonymous = False
    is_staff = False

    @property
    def pk(self) -> str:
        """What throttles count by."""
        return f"{self.issuer}#{self.sub}"


class Refused(APIException):  # type: ignore[misc] # REST framework has no types
    """A request that may not go on, in the framework's words: status, challenge and ``Retry-After`` are ours."""

    def __init__(self, error: VerifierError) -> None:
        answer = current_auth().refusal(error)
        super().__init__({"error": error.error, "error_description": error.description})
        self.status_code = answer.status
        self.auth_header = dict(answer.headers).get(_CHALLENGE)
        self.wait = error.retry_after if isinstance(error, VerifierUnavailable) else None


class BearerAuthentication(BaseAuthentication):  # type: ignore[misc]
    """Authenticates by access token: ``request.auth`` is the `Token`, ``request.user`` a `Caller`.

    Where none was sent the next authentication class is asked. List it first, so that the framework's own 401 carries
    its challenge.
    """

    def authenticate(self, request: Request) -> tuple[Caller, Token] | None:
        """Return who calls, or ``None`` if no token was sent.

        Raises:
            Refused: The token is not good.
        """
        try:
            token = authorize(current_auth().verifier, sent(request.META))
        except TokenMissing:
            return None
        except VerifierError as error:
            raise Refused(error) from error
        return Caller(token.issuer, token.sub), token

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - the framework's interface
        """Return the challenge for a request without a token (RFC 6750 §3)."""
        return dict(current_auth().refusal(TokenMissing()).headers)[_CHALLENGE]


class _Permission(BasePermission):  # type: ignore[misc]
    requirement = NOTHING_MORE

    def __init__(self) -> None:
        self._error: RequirementNotMet | None = None

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ARG002 - the framework's interface
        """Tell whether the token is enough.

        Raises:
            Refused: That cannot be said, or the token is not good any more.
        """
        token = request.auth
        if not isinstance(token, Token):
            return False
        try:
            if self.requirement.on_stale is not None:
                verifier = current_auth().verifier
                token = verifier.verify(sent_token(sent(request.META)), on_stale=self.requirement.on_stale)
            self.requirement.judge(token)
        except RequirementNotMet as error:
            self._error = error
        except VerifierError as error:
            # Not a "no": ``~`` would make a "yes" of it.
            raise Refused(error) from error
        return self._error is None

    @property
    def message(self) -> None:
        """Refuse. The framework asks for its message when the request is lost, and not if ``|`` or ``~`` saved it."""
        if self._error is not None:
            raise Refused(self._error)


def require(
    *,
    scope: Names = (),
    role: Names = (),
    permission: Names = (),
    max_age: int | None = None,
    acr: Names = (),
    on_stale: OnStale | None = None,
) -> type[BasePermission]:
    """Return a permission class. It may be combined by ``&``, ``|``, ``~``; a refusal is then the framework's bare 403.

    Only what the token lacks counts there: where it is not good, or nobody can say, the request ends at once (401, 503).

    Args:
        scope: Scopes that are all needed.
        role: Roles that are all needed.
        permission: Permissions that are all needed.
        max_age: The person must have signed in at most that many seconds ago (RFC 9470 §4).
        acr: One of these authentication classes is needed (RFC 9470 §4).
        on_stale: In addition to the verifier's own, which was followed at authentication; see `OnStale`.
    """
    requirement = Requirement(
        scope=scope, role=role, permission=permission, max_age=max_age, acr=acr, on_stale=on_stale
    )
    return type("RequireToken", (_Permission,), {"requirement": requirement})


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer what `Token.require` raises in a view; for the setting ``EXCEPTION_HANDLER`` of the framework."""
    return default_exception_handler(Refused(error) if isinstance(error, VerifierError) else error, context)
