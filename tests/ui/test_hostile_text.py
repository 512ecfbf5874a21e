"""Whatever text lies in the registry, no page of the console makes markup or a script of it.

Titles, reasons, names, errors and what language models wrote are replaced by an attack in every row
of a place that has been lived in; then every page is taken apart, as a browser would.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
import pytest
from fastapi import routing
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlmodel import SQLModel, select
from starlette.routing import Mount
from tests.ui.conftest import Place, build_place, small_log
from tests.ui.console.lived_in import live_in
from tests.ui.test_administration import browser

from agenticrs.platform.data.raw import RawLog
from agenticrs.platform.database import session_scope
from agenticrs.registry import accounts, audit, policies, tables, tokens
from agenticrs.registry.policies import Policy

ATTACK = "\"'></script></svg><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}"
TEXTS: dict[type[SQLModel], tuple[str, ...]] = {
    tables.MemoryRow: ("proposal", "reason", "expected", "lesson", "origin", "structure"),
    tables.TrialRow: ("method", "error", "device", "code_version", "split"),
    tables.StepRow: ("error",),
    tables.CycleRow: ("error",),
    tables.ProposalRow: ("title", "proposed_by"),
    tables.DecisionRow: ("who", "reason"),
    tables.PromotionRow: ("who", "reason", "cause"),
    tables.CanaryRow: ("who", "reason"),
    tables.ScheduleRow: ("asked_by", "asked_why", "checked"),
    tables.ScheduleRunRow: ("why",),
    tables.ExperimentRow: ("title", "treatment", "control", "planned_by", "who", "reason"),
    tables.ObjectiveRow: ("proposed_by", "reason", "who"),
    tables.VersionRow: ("code_version", "dataset"),
    tables.CompositionRow: ("dataset",),
    tables.AgentRow: ("source",),
}
"""Free texts by table; what is a name or a state that the code looks for stays as it is."""
OBJECTS: dict[type[SQLModel], tuple[str, ...]] = {
    tables.TrialRow: ("note", "config", "environment"),
    tables.MemoryRow: ("segments", "cost", "data"),
    tables.VersionRow: ("config", "environment"),
}
pytestmark = pytest.mark.slow
NAMES = {"name": ["nightly", "ease", "popularity"], "ending": ["md", "svg"], "run_id": ["x"]}
NO_PAGES = {"text/markdown", "image/svg+xml", "text/event-stream"}


@dataclass
class Page(HTMLParser):
    """What of a page could act: scripts, other hosts' pictures, attributes that run something."""

    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        ours = str(told.get("src")).startswith("/static/")
        if (tag in ("script", "img") and not ours) or tag in ("iframe", "object", "embed", "base"):
            self.wrong.append(self.get_starttag_text() or tag)
        self.wrong += [name for name in told if name.startswith("on")]
        links = [str(told[name]) for name in ("href", "src", "action") if name in told]
        self.wrong += [link for link in links if re.match(r"\s*(javascript|data|vbscript):", link)]


def hostile_log() -> RawLog:
    """The places' log, whose items' titles are attacks."""
    raw = small_log()
    where = raw.items.column_names.index("title")
    titles = pa.array([ATTACK] * raw.items.num_rows)
    return replace(raw, items=raw.items.set_column(where, "title", titles))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = build_place(tmp_path_factory.mktemp("hostile"))
    made.datasets.save("generated", hostile_log())
    live_in(made)
    with session_scope(made.engine) as session:
        accounts.create(session, ATTACK.replace(":", ""), "correct horse battery", "viewer")
        tokens.issue(session, owner="admin", name=ATTACK, scopes=["read"], days=1, who="admin")
        policies.write(session, Policy(), replaces=0, who=ATTACK, reason=ATTACK)
        audit.record(
            session,
            who=ATTACK,
            action=ATTACK[:40],
            subject=ATTACK,
            reason=ATTACK,
            before={ATTACK: ATTACK},
            after={ATTACK: [ATTACK]},
        )
        for table, columns in TEXTS.items():
            session.connection().execute(update(table).values(dict.fromkeys(columns, ATTACK)))
        for table, columns in OBJECTS.items():
            told = {ATTACK: ATTACK, "hypothesis": ATTACK, "difference": ATTACK}
            session.connection().execute(update(table).values(dict.fromkeys(columns, told)))
        for proposal in session.exec(select(tables.ProposalRow)):
            reasons = [{"level": "high", "text": ATTACK}]
            proposal.risk = {**proposal.risk, "reasons": reasons}
            proposal.evidence = {**proposal.evidence, "reason": ATTACK}
            session.add(proposal)
    yield made
    made.serving.stop()
    made.engine.dispose()


def addresses(client: Any) -> Iterator[str]:
    """Every page of the console, with what there is for its parameters."""
    for route in routing.iter_route_contexts(client.app.routes):
        path = str(route.path)
        if isinstance(route.original_route, Mount) or "GET" not in (route.methods or ()):
            continue
        if path.startswith("/v1/") or path in ("/metrics", "/healthz", "/login/provider/back"):
            continue
        names = re.findall(r"\{([a-z_]+)[^}]*\}", path)
        for values in itertools.product(*(NAMES.get(name, [1, 2, 3, 4, 8]) for name in names)):
            found = path
            for value in values:
                found = re.sub(r"\{[^}]+\}", str(value), found, count=1)
            yield found
    yield "/compositions/compare?before=3&after=4"
    yield f"/memory?words={ATTACK}&agent={ATTACK}&verdict={ATTACK}"
    yield f"/audit?about={ATTACK}&action={ATTACK}"
    yield f"/login?next=/{ATTACK}"


def test_no_page_makes_markup_of_what_is_stored(place: Place) -> None:
    client = browser(place, "admin")
    showed: dict[str, bool] = {}
    for path in addresses(client):
        if path.endswith("/events"):
            continue  # a stream of what the page of the cycle shows
        answer = client.get(path)
        assert answer.status_code < 500, (path, answer.text)
        kind = answer.headers.get("content-type", "").split(";")[0]
        if answer.status_code == 200:
            showed[path] = "alert(1)" in answer.text
        if kind not in NO_PAGES:
            page = Page()
            page.feed(answer.text)
            assert page.wrong == [], path
        if kind == "image/svg+xml":
            assert not re.search(r"<script|<img|<foreignObject", answer.text), path
        assert ">49<" not in answer.text, f"{path} ran a template out of the data"
    assert len(showed) > 25
    for path in (
        "/proposals/2",
        "/cycles/3",
        "/memory",
        "/audit",
        "/people",
        "/canary",
        "/experiments",
        "/",
    ):
        assert showed[path], f"{path} was to show the attack, as text"


def test_titles_of_an_imported_log_are_answered_as_data(place: Place) -> None:
    client: TestClient = place.client()
    answer = client.get("/v1/recommend?user_id=u&explain=1")
    assert {item["title"] for item in answer.json()["items"]} == {ATTACK}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
