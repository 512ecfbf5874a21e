"""The audit log: who changed what, when and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from agenticrs.registry import audit
from agenticrs.ui.api.dependencies import Registry
from agenticrs.ui.api.people import Someone
from agenticrs.ui.console.rendering import pages_of, plain

router = APIRouter(include_in_schema=False)
AUDIT_PAGE = 50
_DIGEST = re.compile(r"[0-9a-f]{64}")
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
    verify: bool = False,
) -> Response:
    """The entries that fit, newest first; ``about`` is looked for in subjects and reasons.

    With ``verify`` the whole chain is checked, too.
    """
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
        changes=lambda row: changes(row.before, row.after),
        older=shown[-1].id if len(rows) > AUDIT_PAGE else None,
        newest=before is None,
        asked={name: value for name, value in asked.items() if value},
        actions=audit.actions(session),
        action=action,
        who=who,
        about=about,
        chain=audit.verify(session) if verify else None,
    )


@dataclass(frozen=True)
class Change:
    """A field that is not what it was; empty where there was or is none."""

    name: str
    before: str
    after: str


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs, as people read it: names joined by dots, digests cut, no empty fields."""
    was, now = dict(_told(before)), dict(_told(after))
    return [
        Change(name, was.get(name, ""), now.get(name, ""))
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]


def _told(fields: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _told(value, f"{inside}{name}.")
        elif isinstance(value, list) and value:
            yield inside + name, ", ".join(str(plain(one)) for one in value)
        elif value not in (None, "", []):
            text = str(plain(value))
            yield inside + name, text[:12] if _DIGEST.fullmatch(text) else text
