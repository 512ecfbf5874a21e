"""The pages of the console. Every page can be read, and every decision made, without JavaScript."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotFound
from agenticrs.registry import (
    agents,
    audit,
    compositions,
    cycles,
    promotion,
    proposals,
    trials,
    versions,
)
from agenticrs.registry.graph import Graph
from agenticrs.ui.api.dependencies import AppDependencies, Parts
from agenticrs.ui.api.sessions import COOKIE, HOURS_12, LoggedIn, Sessions, check_csrf, person_or_none
from agenticrs.ui.console import graph_svg, interval_svg
from agenticrs.ui.console.graph_svg import Change
from agenticrs.ui.summary import cycle_summary

router = APIRouter(include_in_schema=False)
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
Text = Annotated[str, Form(max_length=4000)]


def _environment() -> Environment:
    loader = PackageLoader("agenticrs.ui.console", "templates")
    made = Environment(loader=loader, autoescape=select_autoescape(), trim_blocks=True)
    made.filters["moment"] = lambda at: at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""
    made.filters["utc"] = lambda at: at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""
    made.filters["figure"] = lambda x: "" if x is None else f"{x:.4f}"
    made.filters["signed"] = lambda x: "" if x is None else f"{x:+.4f}"
    return made


_templates = _environment()


def page(request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a template."""
    html = _templates.get_template(name).render(path=request.url.path, **values)
    return HTMLResponse(html, status)


def error_page(request: Request, status: int, message: str, hint: str) -> HTMLResponse:
    """A page that says what went wrong and what to do next."""
    return page(request, "error.html", status, message=message, hint=hint, code=status)


@router.get("/login")
def login_form(request: Request, next: str = "/") -> Response:
    """The way in."""
    return page(request, "login.html", next=_inside(next), error="")


@router.post("/login")
def login(
    request: Request, parts: Parts, name: Text, password: Text, next: Text = "/"
) -> Response:
    """Check the password and start a new session."""
    sessions: Sessions = request.app.state.sessions
    address = request.client.host if request.client else ""
    if not sessions.check(parts, name, password, address):
        error = "The name or the password is wrong."
        return page(request, "login.html", 401, next=_inside(next), error=error)
    answer = RedirectResponse(_inside(next), 303)
    answer.set_cookie(
        COOKIE,
        sessions.issue(name),
        max_age=HOURS_12,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def logout(person: LoggedIn, csrf: Text = "") -> Response:
    """End the session."""
    check_csrf(person, csrf)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/")
def overview(request: Request, parts: Parts, person: LoggedIn) -> Response:
    """What serves now, the last cycle, what waits."""
    surface = parts.settings.surface
    with session_scope(parts.engine) as session:
        serving = promotion.serving(session, surface)
        history = promotion.history(session, surface, limit=8)
        waiting = proposals.list_all(session, surface, "waiting")
        recent = cycles.list_all(session, surface, limit=5)
    graph = Graph.model_validate(serving.graph) if serving else None
    return page(
        request,
        "overview.html",
        person=person,
        surface=surface,
        serving=serving,
        picture=Markup(graph_svg.draw(graph, "What serves")) if graph else "",  # noqa: S704
        history=history,
        waiting=waiting,
        cycles=recent,
        url=parts.tracking.version_url(serving.model, serving.number) if serving else None,
    )


@router.post("/rollback")
def rollback(
    parts: Parts, person: LoggedIn, reason: Text = "", to: Text = "", csrf: Text = ""
) -> Response:
    """Let an earlier composition serve again."""
    check_csrf(person, csrf)
    if to and not to.isdigit():
        raise NotFound(f"there is no composition {to!r}")
    parts.governance.rollback(to=int(to) if to else None, who=person.name, reason=reason)
    parts.serving.refresh()
    return RedirectResponse("/", 303)


@router.get("/agents")
def list_agents(request: Request, parts: Parts, person: LoggedIn) -> Response:
    """Agents and tools."""
    surface = parts.settings.surface
    with session_scope(parts.engine) as session:
        rows = agents.list_all(session)
        serving = promotion.serving(session, surface)
        counts = {row.name: len(versions.of_agent(session, surface, row.name)) for row in rows}
    inside = Graph.model_validate(serving.graph).agents() if serving else {}
    return page(
        request, "agents.html", person=person, rows=rows, counts=counts, inside=inside
    )


@router.get("/agents/{name}")
def show_agent(request: Request, parts: Parts, person: LoggedIn, name: str) -> Response:
    """An agent: declaration, admission report, versions."""
    surface = parts.settings.surface
    with session_scope(parts.engine) as session:
        row = agents.get(session, name)
        numbers = versions.of_agent(session, surface, name)
        serving = promotion.serving(session, surface)
    inside = Graph.model_validate(serving.graph).agents().get(name) if serving else None
    links = {v.number: parts.tracking.version_url(v.model, v.number) for v in numbers}
    return page(
        request,
        "agent.html",
        person=person,
        row=row,
        versions=numbers,
        inside=inside,
        links=links,
    )


@router.get("/cycles")
def list_cycles(request: Request, parts: Parts, person: LoggedIn) -> Response:
    """Cycles, newest first."""
    with session_scope(parts.engine) as session:
        rows = cycles.list_all(session, parts.settings.surface)
    return page(request, "cycles.html", person=person, rows=rows)


@router.get("/cycles/{cycle_id}")
def show_cycle(request: Request, parts: Parts, person: LoggedIn, cycle_id: Number) -> Response:
    """A cycle with live progress."""
    values = _cycle_values(parts, cycle_id)
    return page(request, "cycle.html", person=person, **values)


@router.get("/cycles/{cycle_id}/events")
async def cycle_events(
    request: Request, parts: Parts, person: LoggedIn, cycle_id: Number
) -> Response:
    """The cycle's fragment as server-sent events, whenever it has changed."""

    async def changes() -> AsyncIterator[str]:
        last = ""
        while not await request.is_disconnected():
            values = await asyncio.to_thread(_cycle_values, parts, cycle_id)
            html = _templates.get_template("cycle_fragment.html").render(**values)
            if html != last:
                last = html
                lines = "".join(f"data: {line}\n" for line in html.splitlines())
                yield f"event: fragment\n{lines}\n"
            if values["row"].state not in ("running",):
                yield "event: end\ndata: end\n\n"
                return
            await asyncio.sleep(1)

    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(changes(), media_type="text/event-stream", headers=headers)


@router.get("/proposals")
def list_proposals(request: Request, parts: Parts, person: LoggedIn) -> Response:
    """Proposals, newest first."""
    with session_scope(parts.engine) as session:
        rows = proposals.list_all(session, parts.settings.surface)
    return page(request, "proposals.html", person=person, rows=rows)


@router.get("/proposals/{proposal_id}")
def show_proposal(
    request: Request, parts: Parts, person: LoggedIn, proposal_id: Number
) -> Response:
    """A proposal: graphs before and after, rewards, guardrails, the decision."""
    with session_scope(parts.engine) as session:
        row = proposals.get(session, proposal_id)
        decided = proposals.decisions(session, proposal_id)
        after = Graph.model_validate(compositions.get(session, row.surface, row.after).graph)
        before = (
            Graph.model_validate(compositions.get(session, row.surface, row.before).graph)
            if row.before
            else None
        )
    evidence = row.evidence
    members = evidence.get("members", {})
    old: dict[str, Change] = dict.fromkeys(members.get("removed", ()), "removed")
    new: dict[str, Change] = {
        **dict.fromkeys(members.get("added", ()), "added"),
        **dict.fromkeys(members.get("changed", ()), "changed"),
    }
    found = [evidence[key] for key in ("reward", "inner") if key in evidence]
    intervals = [(c["metric"], c["difference"]) for c in found]
    segments = evidence.get("segments", {})
    pictures = (
        graph_svg.draw(before, "Before", old) if before else "",
        graph_svg.draw(after, "After", new),
        interval_svg.draw(intervals),
    )
    return page(
        request,
        "proposal.html",
        person=person,
        row=row,
        decisions=decided,
        evidence=evidence,
        comparisons=found,
        segments=segments,
        before=Markup(pictures[0]),  # noqa: S704 (the drawings escape every name)
        after=Markup(pictures[1]),  # noqa: S704
        intervals=Markup(pictures[2]),  # noqa: S704
    )


@router.post("/proposals/{proposal_id}/decide")
def decide(
    parts: Parts,
    person: LoggedIn,
    proposal_id: Number,
    verdict: Text = "",
    reason: Text = "",
    csrf: Text = "",
) -> Response:
    """Approve or reject, with a reason."""
    check_csrf(person, csrf)
    if verdict == "approve":
        parts.governance.decide(proposal_id, verdict="approve", who=person.name, reason=reason)
    elif verdict == "reject":
        parts.governance.decide(proposal_id, verdict="reject", who=person.name, reason=reason)
    else:
        raise NotFound(f"there is no verdict {verdict!r}", hint="approve or reject")
    parts.serving.refresh()
    return RedirectResponse(f"/proposals/{proposal_id}", 303)


@router.get("/audit")
def show_audit(request: Request, parts: Parts, person: LoggedIn, before: int = 0) -> Response:
    """Who changed what, when and why."""
    with session_scope(parts.engine) as session:
        rows = audit.entries(session, 50, before or None)
    return page(request, "audit.html", person=person, rows=rows)


def _cycle_values(parts: AppDependencies, cycle_id: int) -> dict[str, Any]:
    with session_scope(parts.engine) as session:
        row = cycles.get(session, cycle_id)
        steps = cycles.steps(session, cycle_id)
        tried = trials.of_cycle(session, cycle_id)
    return {
        "row": row,
        "steps": steps,
        "trials": tried,
        "summary": cycle_summary(parts.engine, cycle_id),
    }


def _inside(target: str) -> str:
    """Only paths of our own: never send anybody to another host."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if safe else "/"


