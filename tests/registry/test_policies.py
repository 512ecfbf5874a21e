"""Policies and risk: what needs whom, and that nobody gets around it, at once or twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlmodel import select

from agenticrs.platform.database import make_engine, session_scope
from agenticrs.platform.errors import AgenticRSError, Conflict, NotAllowed
from agenticrs.registry import audit, policies, proposals, risk, schema
from agenticrs.registry.graph import Condition, Graph, Node
from agenticrs.registry.policies import Policy, Rule
from agenticrs.registry.tables import CompositionRow, DecisionRow, ProposalRow, utc_now

ROLES = {"popularity": "retrieval", "ease": "retrieval", "rrf": "fusion", "router": "routing"}
GOOD: dict[str, Any] = {
    "score": {"mean": 0.1},
    "reward": {"difference": {"mean": 0.02, "low": 0.01, "high": 0.03}},
    "guardrails": [{"name": "latency", "passed": True}],
    "segments": {"short": 0.1, "long": 0.0},
}
TWO = Policy(rules=(), otherwise=2)


def graph(**changed: Any) -> Graph:
    nodes = {
        "popularity": Node(id="popularity", agent="popularity", version=1),
        "ease": Node(id="ease", agent="ease", version=1),
        "rrf": Node(id="rrf", agent="rrf", version=1, inputs=("popularity", "ease")),
    }
    for node_id, values in changed.items():
        nodes[node_id] = nodes[node_id].model_copy(update=values)
    return Graph(nodes=tuple(nodes.values()), output="rrf")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    schema.upgrade(made)
    with session_scope(made) as session:
        for number, one in enumerate((graph(), graph(ease={"version": 2})), 1):
            session.add(
                CompositionRow(
                    surface="home",
                    number=number,
                    model="home.composition",
                    run_id="r",
                    graph=one.model_dump(mode="json"),
                    digest=one.digest(),
                    dataset="d",
                    fingerprint="f",
                )
            )
    yield made
    made.dispose()


def file(engine: Engine, by: str = "evolution", evidence: Any = None) -> int:
    with session_scope(engine) as session:
        session.connection().execute(text("PRAGMA foreign_keys = OFF"))  # no cycle is needed here
        number = len(session.exec(select(ProposalRow)).all()) + 1
        session.connection().execute(
            text(
                "INSERT INTO cycle (id, surface, kind, state, dataset, fingerprint, seed, request,"
                " error, started_at) VALUES (:n, 'home', 'individual', 'waiting', 'd', 'f', 0,"
                " '{}', '', '2026-01-01 00:00:00.000000')"
            ),
            {"n": number},
        )
        row = proposals.file(
            session,
            surface="home",
            cycle_id=number,
            title="better",
            before=1,
            after=2,
            digest=graph(ease={"version": 2}).digest(),
            evidence=GOOD if evidence is None else evidence,
            proposed_by=by,
        )
        return row.id or 0


def say(engine: Engine, proposal: int, who: str, verdict: Any = "approve") -> str:
    with session_scope(engine) as session:
        proposals.decide(session, proposal, verdict=verdict, who=who, reason="I have looked")
        return proposals.get(session, proposal).state


def write(engine: Engine, policy: Policy, replaces: int = 0) -> None:
    with session_scope(engine) as session:
        policies.write(session, policy, replaces=replaces, who="ada", reason="because")


@pytest.mark.parametrize(
    ("after", "evidence", "change", "level", "why"),
    [
        (graph(ease={"version": 2}), {}, "versions", "low", "weights or settings of ease"),
        (
            graph(rrf={"version": 2}),
            {},
            "versions",
            "medium",
            "new version of the fusion, which decides for everybody: rrf",
        ),
        (graph(rrf={"inputs": ("ease",)}), {}, "composition", "medium", "read or keep other"),
        (
            graph(ease={"when": Condition(node="router", segments=("cold",))}),
            {},
            "composition",
            "medium",
            "ease acts for cold of router instead of everybody",
        ),
        (
            Graph(nodes=graph().nodes[:1], output="popularity"),
            {},
            "composition",
            "medium",
            "ease leaves",
        ),
        (graph(ease={"version": 2}), {"guardrails": []}, "versions", "high", "no guardrail"),
        (
            graph(ease={"version": 2}),
            {"guardrails": [{"name": "latency", "passed": False}]},
            "versions",
            "high",
            "broken guardrails: latency",
        ),
        (
            graph(ease={"version": 2}),
            {"segments": {"short": -0.1, "long": 0.2}},
            "versions",
            "medium",
            "some users get less: short",
        ),
        (graph(ease={"version": 2}), {"score": {"mean": 0.9}}, "versions", "medium", "mistake"),
        (graph(ease={"version": 2}), {"score": None}, "versions", "medium", "no effect"),
    ],
)
def test_risk_is_read_off_what_a_change_touches(
    after: Graph, evidence: dict[str, Any], change: str, level: str, why: str
) -> None:
    found = risk.assess(graph(), after, {**GOOD, **evidence}, roles=ROLES)
    assert (found.change, found.level) == (change, level)
    assert any(why in reason.text for reason in found.reasons), found.reasons
    assert [r.level for r in found.reasons] == sorted(
        (r.level for r in found.reasons), key=risk.LEVELS.index, reverse=True
    )


def test_new_generated_code_is_of_high_risk_and_a_first_composition_of_low() -> None:
    found = risk.assess(graph(), graph(ease={"version": 2}), GOOD, roles=ROLES, generated=["ease"])
    assert found.level == "high"
    assert "nobody has read" in found.reasons[0].text
    assert risk.assess(None, graph(), {}, roles=ROLES).level == "low"


@pytest.mark.parametrize(("automatic", "people"), [(True, 0), (False, 1)])
def test_the_default_policy_does_what_the_setting_says(automatic: bool, people: int) -> None:
    active = policies.Active(0, policies.default(automatic))
    versions = risk.assess(graph(), graph(ease={"version": 2}), GOOD, roles=ROLES)
    assert active.rule(versions).approvals == people
    for harm in ({"segments": {"short": -0.1}}, {"score": {"mean": 0.9}}):
        riskier = risk.assess(graph(), graph(ease={"version": 2}), {**GOOD, **harm}, roles=ROLES)
        assert (riskier.change, active.rule(riskier).approvals) == ("versions", 1)
    assert active.rule(risk.assess(None, graph(), {}, roles=ROLES)).approvals == 0
    other = risk.assess(graph(), graph(rrf={"inputs": ("ease",)}), GOOD, roles=ROLES)
    assert active.rule(other).approvals == 1
    assert active.rule(other.model_copy(update={"level": "high"})).approvals == 2


def test_an_effect_that_is_too_large_or_unknown_is_left_to_the_next_rule() -> None:
    small = Rule(changes=("versions",), risk="low", largest_effect=0.05, approvals=0)
    active = policies.Active(3, Policy(rules=(small,), otherwise=1))
    found = risk.assess(graph(), graph(ease={"version": 2}), GOOD, roles=ROLES)
    for effect, people in ((0.05, 0), (0.06, 1), (None, 1)):
        assert active.rule(found.model_copy(update={"effect": effect})).approvals == people


@pytest.mark.parametrize(
    "wrong",
    [
        {"rules": [{"changes": ["composition"], "risk": "low", "approvals": 0}]},
        {"rules": [{"changes": ["versions"], "risk": "high", "approvals": 0}]},
        {"rules": [{"changes": [], "risk": "low", "approvals": 1}]},
        {"otherwise": 0},
        {"otherwise": 3},
        {"approval_hours": 0},
        {"unknown": 1},
        [],
    ],
)
def test_a_policy_that_would_let_anything_through_is_refused(wrong: Any) -> None:
    with pytest.raises(NotAllowed):
        policies.parse(wrong)


def test_policies_are_versions_with_who_and_why_and_of_two_writers_one_is_told(
    engine: Engine,
) -> None:
    write(engine, TWO)
    with pytest.raises(Conflict, match="meanwhile"):
        write(engine, Policy(), replaces=0)
    write(engine, Policy(otherwise=1), replaces=1)
    with session_scope(engine) as session:
        assert policies.active(session).policy.otherwise == 1
        assert [row.id for row in policies.history(session)] == [2, 1]
        entry = audit.entries(session, 1)[0]
        assert (entry.action, entry.before["otherwise"], entry.after["otherwise"]) == (
            "change policy",
            2,
            1,
        )
    with pytest.raises(NotAllowed, match="reason"), session_scope(engine) as session:
        policies.write(session, TWO, replaces=2, who="ada", reason=" ")


def test_two_people_are_two_people(engine: Engine) -> None:
    write(engine, TWO)
    proposal = file(engine)
    assert say(engine, proposal, "ada") == "waiting"
    assert say(engine, proposal, "ada") == "waiting", "saying it twice is saying it once"
    assert say(engine, proposal, "bob") == "approved"
    with session_scope(engine) as session:
        assert len(session.exec(select(DecisionRow)).all()) == 2
    with pytest.raises(Conflict, match="no longer waits"):
        say(engine, proposal, "eve")


def test_nobody_approves_what_they_asked_for_but_they_may_reject_it(engine: Engine) -> None:
    proposal = file(engine, by="ada")
    with pytest.raises(NotAllowed, match="somebody else"):
        say(engine, proposal, "ada")
    assert say(engine, proposal, "ada", "comment") == "waiting"
    assert say(engine, proposal, "ada", "reject") == "rejected"
    write(engine, Policy(otherwise=1, own_changes=True))
    assert say(engine, file(engine, by="ada"), "ada") == "approved"


def test_racing_approvals_count_each_other_and_end_it_once(engine: Engine) -> None:
    write(engine, TWO)
    proposal = file(engine)
    start = threading.Barrier(4)
    ended: list[str] = []

    def approve(who: str) -> None:
        start.wait()
        try:
            ended.append(say(engine, proposal, who))
        except AgenticRSError as error:
            ended.append(type(error).__name__)

    people = [threading.Thread(target=approve, args=(who,)) for who in ("a", "a", "b", "c")]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    with session_scope(engine) as session:
        row = proposals.get(session, proposal)
        assert row.state == "approved"
        assert len(proposals.approvals(session, row)) == 2
        assert audit.verify(session).broken is None
    assert ended.count("approved") == 1


def test_an_approval_expires_and_may_be_given_again(engine: Engine) -> None:
    write(engine, TWO)
    proposal = file(engine)
    say(engine, proposal, "ada")
    with session_scope(engine) as session:
        (decision,) = proposals.decisions(session, proposal)
        decision.expires_at = utc_now() - timedelta(seconds=1)
        session.add(decision)
    assert say(engine, proposal, "bob") == "waiting", "ada's counts no more"
    assert say(engine, proposal, "ada") == "approved"


def test_an_approval_is_void_when_the_content_changes(engine: Engine) -> None:
    write(engine, TWO)
    proposal = file(engine)
    say(engine, proposal, "ada")
    with session_scope(engine) as session:
        row = proposals.get(session, proposal)
        other = row.model_copy(update={"digest": "another"})
        assert proposals.approvals(session, other) == []
        changed = graph(ease={"version": 3}).model_dump(mode="json")
        session.connection().execute(
            CompositionRow.__table__.update()  # type: ignore[attr-defined]
            .where(CompositionRow.__table__.c.number == 2)  # type: ignore[attr-defined]
            .values(graph=changed)
        )
    with pytest.raises(Conflict, match="is not the one"):
        say(engine, proposal, "bob")


def test_requested_changes_end_it_and_comments_do_not(engine: Engine) -> None:
    proposal = file(engine)
    assert say(engine, proposal, "bob", "comment") == "waiting"
    assert say(engine, proposal, "bob", "request changes") == "changes requested"
    with pytest.raises(Conflict, match="changes requested"):
        say(engine, proposal, "ada")
    with session_scope(engine) as session:
        assert [d.verdict for d in proposals.decisions(session, proposal)] == [
            "comment",
            "request changes",
        ]
        found = proposals.get(session, proposal).risk
    assert (found["level"], found["change"]) == ("low", "versions")
