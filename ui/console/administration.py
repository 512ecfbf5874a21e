"""Pages of admins: people and tokens, policies; and everybody's own account."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, cast

from fastapi import APIRouter, Form, Path, Request, Response
from starlette.responses import RedirectResponse

from agenticrs.platform.errors import NotAllowed
from agenticrs.registry import accounts, policies, tokens
from agenticrs.registry.roles import ROLES, SCOPES, Role
from agenticrs.registry.tables import utc_now
from agenticrs.ui.api.credentials import Person, check_password
from agenticrs.ui.api.dependencies import Deps, Key, Registry
from agenticrs.ui.api.people import Admin, Viewer, check_token
from agenticrs.ui.api.sessions import COOKIE
from agenticrs.ui.console.paging import PageNumber, page_of
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=4000)]
Name = Annotated[str, Path(min_length=1, max_length=accounts.LONGEST_NAME)]


@router.get("/people")
def show_people(
    request: Request,
    someone: Admin,
    session: Registry,
    page: PageNumber = 1,
    tokens_page: PageNumber = 1,
) -> Response:
    """Accounts and tokens, and the forms to change them."""
    return _people(request, someone, session, page=page, tokens_page=tokens_page)


@router.post("/people/add")
def add_person(
    request: Request,
    someone: Admin,
    session: Registry,
    name: Text = "",
    role: Text = "viewer",
    csrf: Text = "",
) -> Response:
    """Make an account; its password is shown on the page that answers, and never again."""
    check_token(someone.session, csrf)
    password = secrets.token_urlsafe(12)
    accounts.create(session, name.strip(), password, cast(Role, role), who=someone.name)
    return _people(request, someone, session, secret=(f"The password of {name}", password))


@router.post("/people/{name}/change")
def change_person(
    request: Request,
    someone: Admin,
    session: Registry,
    name: Name,
    what: Text = "",
    role: Text = "",
    reason: Text = "",
    csrf: Text = "",
) -> Response:
    """Another role, another password, close or open the account."""
    check_token(someone.session, csrf)
    if what == "role":
        accounts.set_role(session, name, cast(Role, role), who=someone.name, reason=reason)
    elif what in ("close", "open"):
        accounts.set_active(session, name, what == "open", who=someone.name, reason=reason)
    elif what == "password":
        password = secrets.token_urlsafe(12)
        accounts.set_password(session, name, password, who=someone.name)
        return _people(request, someone, session, secret=(f"The password of {name}", password))
    else:
        raise NotAllowed("that is no change of an account", hint="use the page's buttons")
    return RedirectResponse("/people", 303)


@router.post("/tokens/create")
def make_token(
    request: Request,
    someone: Admin,
    session: Registry,
    name: Text = "",
    owner: Text = "",
    scopes: Annotated[list[str], Form(max_length=10)] = [],  # noqa: B006 (FastAPI copies it)
    days: Annotated[float, Form(gt=0, le=tokens.LONGEST_DAYS)] = 90,
    csrf: Text = "",
) -> Response:
    """Make a token; it is shown on the page that answers, and never again."""
    check_token(someone.session, csrf)
    _, text = tokens.issue(
        session, owner=owner, name=name, scopes=scopes, days=days, who=someone.name
    )
    return _people(request, someone, session, secret=(f"The token {name}", text))


@router.post("/tokens/{token_id}/revoke")
def revoke_token(
    someone: Admin,
    session: Registry,
    token_id: Key,
    csrf: Text = "",
) -> Response:
    """Let a token count no more."""
    check_token(someone.session, csrf)
    tokens.revoke(session, token_id, who=someone.name)
    return RedirectResponse("/people", 303)


@router.get("/policies")
def show_policies(
    request: Request, someone: Viewer, deps: Deps, session: Registry, page: PageNumber = 1
) -> Response:
    """The policy that counts, how it came to be, and the form to write another one."""
    automatic = deps.settings.auto_approve_agents
    active = policies.active(session, auto_approve_agents=automatic)
    return pages_of(request).page(
        request,
        "policies.html",
        person=someone,
        active=active,
        text=json.dumps(active.policy.model_dump(mode="json"), indent=2),
        table=page_of(
            lambda limit, offset: policies.history(session, limit, offset),
            total=policies.count(session),
            number=page,
            path="/policies",
            size=20,
        ),
    )


@router.post("/policies")
def write_policy(
    someone: Admin,
    session: Registry,
    content: Annotated[str, Form(max_length=20_000)] = "",
    replaces: Annotated[int, Form(ge=0, le=2**53)] = 0,
    reason: Text = "",
    csrf: Text = "",
) -> Response:
    """Write a new version."""
    check_token(someone.session, csrf)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise NotAllowed("the policy is not valid JSON", hint="go back and correct it") from None
    policies.write(
        session, policies.parse(values), replaces=replaces, who=someone.name, reason=reason
    )
    return RedirectResponse("/policies", 303)


@router.get("/account")
def show_account(request: Request, someone: Viewer, session: Registry) -> Response:
    """Who is logged in, with which role, and the form for another password."""
    return pages_of(request).page(
        request, "account.html", person=someone, row=accounts.get(session, someone.name)
    )


@router.post("/account/password")
def change_password(
    request: Request,
    someone: Viewer,
    session: Registry,
    password: Text = "",
    new: Text = "",
    csrf: Text = "",
) -> Response:
    """Another password for oneself, by the present one; every session of theirs ends."""
    check_token(someone.session, csrf)
    check_password(request, someone.name, password)
    accounts.set_password(session, someone.name, new, who=someone.name)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _people(
    request: Request,
    someone: Person,
    session: Registry,
    *,
    secret: tuple[str, str] | None = None,
    page: int = 1,
    tokens_page: int = 1,
) -> Response:
    now = utc_now()
    return pages_of(request).page(
        request,
        "people.html",
        person=someone,
        table=page_of(
            lambda limit, offset: accounts.list_all(session, limit, offset),
            total=accounts.count(session),
            number=page,
            path="/people",
        ),
        tokens=page_of(
            lambda limit, offset: [
                (row, tokens.state_of(row, now)) for row in tokens.list_all(session, limit, offset)
            ],
            total=tokens.count(session),
            number=tokens_page,
            path="/people",
            size=25,
            parameter="tokens_page",
        ),
        owners=[row.name for row in accounts.list_all(session) if row.active],
        roles=ROLES,
        scopes=list(SCOPES),
        secret=secret,
    )
