"""Who may do what.

Every route says the role that it needs, or stands in ``OPEN``:

    def pause(who: Operator, ...)                              # whose name the route uses
    APIRouter(dependencies=[Depends(Needs("viewer"))])         # for all routes of a router

A change made with a cookie must carry the session's token: under ``/v1/`` in a header, which is
checked here; in the forms of the console as a field, which the route checks (``check_token``).
Tokens and Basic need none, because the guard refuses what another site's page sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from agenticrs.platform.errors import NotAllowed
from agenticrs.registry.roles import Role
from agenticrs.ui.api.credentials import LoginNeeded, Person, somebody
from agenticrs.ui.api.sessions import LoggedIn, same_token

CSRF_HEADER = "x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset(
    {
        ("GET", "/healthz"),
        ("GET", "/metrics"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/v1/recommend"),
        ("POST", "/v1/recommend"),
        ("POST", "/v1/feedback"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/login/provider"),
        ("GET", "/login/provider/back"),
        ("POST", "/v1/mlflow/webhook"),
    }
)
"""Method and path of the routes that need no login: what the surface and machines call, the way in.
All others must name a role: a test asks every route as everybody."""


class RoleNeeded(NotAllowed):
    """Somebody is logged in, but may not do this."""


@dataclass(frozen=True)
class Needs:
    """A dependency: who asks, if their role is enough.

    Raises LoginNeeded for nobody, RoleNeeded for a role or scopes that are not enough, NotAllowed
    for a change of the API by a cookie alone.
    """

    role: Role

    def __call__(self, request: Request) -> Person:
        """Who asks."""
        if not hasattr(request.state, "somebody"):  # several dependencies, one look
            request.state.somebody = somebody(request)
        found: Person | None = request.state.somebody
        if found is None:
            raise LoginNeeded("log in first", hint="use a session cookie, a token or HTTP Basic")
        if not found.may(self.role):
            raise RoleNeeded(
                f"this needs the role {self.role}",
                hint=f"{found.name} is {found.role}"
                + (f", with a token for: {', '.join(sorted(found.scopes))}" if found.scopes else "")
                + "; ask an admin",
            )
        if (
            request.method not in SAFE
            and found.session is not None
            and request.url.path.startswith("/v1/")
        ):
            check_token(found.session, request.headers.get(CSRF_HEADER, ""))
        return found


Viewer = Annotated[Person, Depends(Needs("viewer"))]
Operator = Annotated[Person, Depends(Needs("operator"))]
Approver = Annotated[Person, Depends(Needs("approver"))]
Admin = Annotated[Person, Depends(Needs("admin"))]
Someone = Viewer
"""For pages that are only read."""


def check_token(session: LoggedIn | None, token: str) -> None:
    """Raise NotAllowed unless the token belongs to the session."""
    if session is None or not same_token(session, token):
        raise NotAllowed(
            "the form's token is missing or belongs to another session",
            hint="open the page again and send the form from there",
        )
