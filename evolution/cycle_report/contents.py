"""What a cycle tried, what won, why, and what it cost: put together from its rows, as blocks.

Nothing is measured here, so the report of a cycle can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from agenticrs.evolution.cycle_report import picture
from agenticrs.evolution.cycle_report.blocks import (
    Block,
    Heading,
    Paragraph,
    Picture,
    Report,
    Table,
)
from agenticrs.evolution.methods.archive import Ancestor, lineage
from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.methods.points import tried
from agenticrs.platform.database import session_scope
from agenticrs.platform.llm.spending import Spent
from agenticrs.registry import cycles, promotion, proposals, trials
from agenticrs.registry.tables import CycleRow, DecisionRow, ProposalRow, TrialRow

Step = Mapping[str, Any]
_ERRORS = 10
_LONGEST = 300


@dataclass(frozen=True)
class _Found:
    """The rows of a cycle."""

    cycle: CycleRow
    steps: Mapping[str, Step]
    trials: Sequence[TrialRow]
    proposal: ProposalRow | None
    decisions: Sequence[DecisionRow]
    serves: int | None
    """The composition that serves now."""


def report_of(engine: Engine, cycle_id: int) -> Report:
    """The report as its rows are now; raises NotFound."""
    with session_scope(engine) as session:
        found = _read(session, cycle_id)
    row, cost = found.cycle, _cost(found.trials)
    return Report(
        cycle=cycle_id,
        surface=row.surface,
        kind=row.kind,
        state=row.state,
        title=f"Cycle {cycle_id} on {row.surface}: {row.kind}, {row.state}",
        blocks=(
            Paragraph(_summary(found)),
            _facts(found),
            *_planned(found),
            *_tried(found),
            *_won(found),
            *_spent(found, cost),
            *_went_wrong(found),
        ),
        figures={
            "trials": float(len(found.trials)),
            "failed": float(sum(trial.state == "failed" for trial in found.trials)),
            **cost,
        },
    )


def _read(session: Session, cycle_id: int) -> _Found:
    row = cycles.get(session, cycle_id)
    proposal = proposals.of_cycle(session, cycle_id)
    serving = promotion.serving(session, row.surface)
    return _Found(
        cycle=row,
        steps={step.name: step.result for step in cycles.steps(session, cycle_id)},
        trials=trials.of_cycle(session, cycle_id),
        proposal=proposal,
        decisions=proposals.decisions(session, proposal.id or 0) if proposal else (),
        serves=serving.number if serving else None,
    )


def _summary(found: _Found) -> str:
    """What came of it, in a sentence or two."""
    row, steps = found.cycle, found.steps
    if row.state == "failed":
        return f"It failed: {row.error}"
    promoted = steps.get("promote", {}).get("composition")
    canary, stale = (steps.get("promote", {}).get(name) for name in ("canary", "stale"))
    if promoted is not None:
        said = f"Composition {promoted} was promoted"
        said += "." if promoted == found.serves else f"; {found.serves} serves now."
    elif canary is not None:
        said = f"Canary {canary} has begun: few users see the winner first."
    elif stale is not None:
        said = f"Nothing was promoted: {stale}."
    elif found.proposal is not None:
        state = "waits for a person" if found.proposal.state == "waiting" else found.proposal.state
        said = f"Proposal {found.proposal.id} ({found.proposal.title}) {_is(state)}."
    elif versions := steps.get("approve", {}).get("versions"):
        said = f"New versions: {_list(versions)}."
    elif row.state == "running":
        said = "It is at work."
    else:
        said = "Nothing better was found: what serves stays."
    decided = steps.get("approve", {}).get("decided_by")
    return f"{said} Decided by {decided}." if decided and not found.proposal else said


def _is(state: str) -> str:
    return state if state.startswith("waits") else f"is {state}"


def _facts(found: _Found) -> Table:
    row, sense = found.cycle, found.steps.get("sense", {})
    took = _lasting((row.finished_at - row.started_at).total_seconds()) if row.finished_at else "–"  # noqa: RUF001
    facts = [
        ("data", f"{row.dataset}, snapshot {row.fingerprint}, split {row.request.get('split')}"),
        ("began (UTC)", f"{row.started_at:%Y-%m-%d %H:%M:%S}"),
        ("took", took),
        ("seed", str(row.seed)),
    ]
    if "interactions" in sense:
        new = f"{sense['interactions']:,}, {sense['new_interactions']:,} of them new to what served"
        facts.insert(1, ("interactions", new))
    if fold := sense.get("fold"):
        facts.append(("checks of the data", _checked(fold, row.id)))
    if drift := sense.get("drift"):
        moved = "yes" if drift.get("detected") else "no"
        facts.insert(2, ("drift", f"{moved} (p {drift['p_value']:.3f}, {drift['rows']:,} rows)"))
    if why := row.request.get("why"):
        facts.insert(0, (f"why {row.kind}", _said(str(why))))
    return Table(("What", ""), facts)


def _checked(fold: Mapping[str, Any], cycle: int | None) -> str:
    """What the checks of the fold said, and to which cycle they said it."""
    failed = [f"{one['name']}: {one['detail']}" for one in fold["checks"] if not one["passed"]]
    if failed:
        return _said("; ".join(failed))
    asked = f"{fold['seconds']:g} s" if fold["cycle"] == cycle else f"in cycle {fold['cycle']}"
    return f"{len(fold['checks'])} passed, {asked}"


def _planned(found: _Found) -> list[Block]:
    plan = found.steps.get("plan", {})
    blocks: list[Block] = []
    if turns := plan.get("turns"):
        rows = [
            (
                agent,
                str(plan.get("methods", {}).get(agent, "")),
                str(turn.get("trials", "")),
                _said(plan.get("choices", {}).get(agent, {}).get("reason", "")),
                _said(turn.get("reason", "")),
            )
            for agent, turn in turns.items()
        ]
        head = ("agent", "method", "trials", "why this method", "why this turn")
        blocks += [Heading("What was planned"), Table(head, rows)]
    elif plan.get("reason"):
        blocks += [Heading("What was planned"), Paragraph(_said(f"{plan['reason']}."))]
    elif plan.get("compositions"):
        text = f"{plan['compositions']} compositions of {len(plan.get('members', {}))} agents."
        if why := plan.get("search", {}).get("reason"):
            text += f" {_said(why)}."
        blocks += [Heading("What was planned"), Paragraph(text)]
    if left_out := plan.get("left_out"):
        blocks.append(
            Table(("left out", "why"), [(name, _said(why)) for name, why in left_out.items()])
        )
    return blocks


def _tried(found: _Found) -> list[Block]:
    if not found.trials:
        return [Heading("What was tried"), Paragraph("No candidate was proposed.")]
    ended = found.steps.get("evaluate", {}).get("ended", {})
    rows = []
    for agent in dict.fromkeys(trial.agent for trial in found.trials):
        own = [trial for trial in found.trials if trial.agent == agent]
        best = max(
            (t for t in own if t.state == "done" and t.reward is not None),
            key=lambda t: t.reward or 0.0,
            default=None,
        )
        states = [trial.state for trial in own]
        rows.append(
            (
                agent,
                ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)),
                ", ".join(dict.fromkeys(trial.method for trial in own)),
                _number(best.reward) if best else "–",  # noqa: RUF001
                _config(best.config) if best else "",
                _said(str(ended.get(agent, ""))),
            )
        )
    head = ("agent", "candidates", "drawn by", "best reward", "with", "ended by")
    drawn = picture.rewards(found.trials)
    words = "Rewards of the candidates in the order of their making; the line is the best so far."
    pictures = [Picture("rewards", drawn, words)] if drawn else []
    return [Heading("What was tried"), Table(head, rows), *pictures, *_descended(found)]


def _descended(found: _Found) -> list[Block]:
    """What the best structures and drafts come from: each step, who drew it, and at what cost."""
    rows = []
    for agent in dict.fromkeys(trial.agent for trial in found.trials):
        own = [tried(trial) for trial in found.trials if trial.agent == agent]
        best = max((one for one in own if one.reward is not None), key=_by_reward, default=None)
        line = lineage(own, best.number) if best else ()
        # Settings alone change from candidate to candidate without a line of their own.
        if any(step.parents or step.difference for step in line):
            rows += [_step(agent, step) for step in line]
    head = ("agent", "candidate", "from", "what changed", "drawn by", "cost", "why", "reward")
    return [Paragraph("What the best ones come from:"), Table(head, rows)] if rows else []


def _by_reward(one: Tried) -> float:
    return one.reward or 0.0


def _step(agent: str, step: Ancestor) -> tuple[str, ...]:
    spent = Spent.of_note(step.cost)
    prompts = f" ({', '.join(step.prompts)})" if step.prompts else ""
    return (
        agent,
        str(step.number),
        ", ".join(map(str, step.parents)),
        _said(step.difference),
        _said(step.origin + prompts),
        f"{spent.tokens:,} tokens, {_number(spent.money)}" if spent.tokens else "",
        _said(step.hypothesis),
        "" if step.reward is None else _number(step.reward),
    )


def _won(found: _Found) -> list[Block]:
    verdicts = found.steps.get("select", {}).get("verdicts", [])
    numbers = found.steps.get("approve", {}).get("versions", {})
    evidence = (
        (found.proposal.evidence if found.proposal else None)
        or found.steps.get("approve", {}).get("evidence")
        or found.steps.get("select", {}).get("evidence")
    )
    blocks: list[Block] = []
    if verdicts:
        rows = []
        for verdict in verdicts:
            name, score = verdict["agent"], verdict["blended"]
            outcome = f"version {numbers[name]}" if name in numbers else "champion stays"
            rows.append(
                (name, _interval(score), _p(score), outcome, _said(str(verdict.get("reason", ""))))
            )
        head = ("agent", "blended lift", "p", "outcome", "why")
        blocks += [Table(head, rows)]
    if evidence:
        blocks += _evidence(evidence)
    if found.proposal is not None:
        blocks += [Paragraph(_decided(found.proposal, found.decisions))]
    if not blocks:
        versions = found.steps.get("approve", {}).get("versions")
        text = f"First versions: {_list(versions)}." if versions else "Nothing was better."
        blocks = [Paragraph(text)]
    test = found.steps.get("observe", {}).get("test") or {}
    if test:
        measured = [(name, _number(value)) for name, value in sorted(test.items())]
        blocks += [
            Paragraph("On the sealed test rows, which no step before had seen:"),
            Table(("metric", "value"), measured),
        ]
    return [Heading("What won, and why"), *blocks]


def _evidence(evidence: Mapping[str, Any]) -> list[Block]:
    rows = [("blended lift", "", "", _interval(evidence["score"]), _p(evidence["score"]))]
    for key in ("reward", "inner"):
        one = evidence[key]
        before, after = one["before"]["mean"], one["after"]["mean"]
        rows.append(
            (
                one["metric"],
                _number(before),
                _number(after),
                _interval(one["difference"]),
                _p(one["difference"]),
            )
        )
    rails = [
        (
            rail["name"],
            _number(rail["before"]),
            _number(rail["after"]),
            _number(rail["limit"]),
            "kept" if rail["passed"] else "broken",
        )
        for rail in evidence.get("guardrails", [])
    ]
    blocks: list[Block] = [
        Paragraph(_said(str(evidence.get("reason", "")))),
        Table(("metric", "before", "after", "difference", "p"), rows),
    ]
    if rails:
        blocks.append(Table(("guardrail", "before", "after", "limit", ""), rails))
    return blocks


def _spent(found: _Found, cost: Mapping[str, float]) -> list[Block]:
    request = found.cycle.request
    limits = {"seconds": request.get("seconds"), "gpu_seconds": request.get("gpu_seconds")}
    limits["llm_money"] = request.get("llm_money")
    names = {
        "seconds": "trial seconds",
        "gpu_seconds": "GPU-seconds",
        "llm_money": "money for language models",
        "llm_tokens": "tokens of language models",
    }
    unsaid = {"seconds": "no limit", "gpu_seconds": "no limit"}
    rows = [
        (
            text,
            _number(cost[name]),
            unsaid.get(name, "the setting") if limits.get(name) is None else _number(limits[name]),
        )
        for name, text in names.items()
    ]
    cached = sum("cached_from" in trial.note for trial in found.trials)
    blocks: list[Block] = [Heading("What it cost"), Table(("what", "spent", "budget"), rows)]
    if cached:
        blocks.append(Paragraph(f"{cached} results were taken from earlier trials, for nothing."))
    return blocks


def _went_wrong(found: _Found) -> list[Block]:
    failed = [trial for trial in found.trials if trial.state == "failed"]
    if not failed:
        return []
    rows = [(t.agent, str(t.number), t.method, _said(t.error)) for t in failed[:_ERRORS]]
    more = len(failed) - len(rows)
    blocks: list[Block] = [
        Heading("What went wrong"),
        Table(("agent", "number", "method", "error"), rows),
    ]
    return [*blocks, Paragraph(f"And {more} more.")] if more else blocks


def _cost(tried: Sequence[TrialRow]) -> dict[str, float]:
    spent = sum((Spent.of_note(trial.note.get("cost", {})) for trial in tried), Spent())
    return {
        "seconds": round(sum(trial.seconds for trial in tried), 2),
        "gpu_seconds": round(sum(trial.gpu_seconds for trial in tried), 2),
        "llm_money": round(spent.money, 6),
        "llm_tokens": float(spent.tokens),
    }


def _decided(proposal: ProposalRow, decisions: Sequence[DecisionRow]) -> str:
    said = f"Proposal {proposal.id} {_is(proposal.state)}."
    for decision in decisions:
        said += f" {decision.who}: {decision.verdict}, because {_said(decision.reason)}."
    return said


def _interval(estimate: Mapping[str, Any]) -> str:
    return f"{estimate['mean']:+.4f} [{estimate['low']:+.4f}, {estimate['high']:+.4f}]"


def _p(estimate: Mapping[str, Any]) -> str:
    value = estimate.get("p_value")
    return "" if value is None else f"{value:.4f}"


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _config(values: Mapping[str, Any]) -> str:
    parts = list[str]()
    for name, value in values.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        parts += [f"{name}.{key} {_number(v)}".replace(". ", " ", 1) for key, v in inner.items()]
    return _said(", ".join(parts))


def _list(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{agent} {number}" for agent, number in sorted(versions.items()))


def _said(text: str) -> str:
    """A text of somebody else on one line, not without end."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _lasting(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"
