"""The audit log: who changed what, when and why."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from agenticrs.registry import audit
from agenticrs.ui.api.dependencies import Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console.rendering import pages_of

router = APIRouter(include_in_schema=False)
AUDIT_PAGE = 50
Word = Annotated[str, Query(max_length=200)]


@router.get("/audit")
def show_audit(
    request: Request,
    someone: Someone,
    session: Registry,
    before: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    action: Word = "",
    who: Word = "",
    about: Word = "",
) -> Response:
    """The entries that fit, newest first; ``about`` is looked for in subjects and reasons."""
    asked = {"action": action, "who": who, "about": about}
    rows = audit.entries(
        session, AUDIT_PAGE + 1, before, action or None, who=who or None, about=about or None
    )
    shown = rows[:AUDIT_PAGE]
    return pages_of(request).page(
        request,
        "audit.html",
        person=someone,
        rows=shown,
        older=shown[-1].id if len(rows) > AUDIT_PAGE else None,
        newest=before is None,
        asked={name: value for name, value in asked.items() if value},
        actions=audit.actions(session),
        action=action,
        who=who,
        about=about,
    )
