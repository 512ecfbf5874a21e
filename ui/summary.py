"""What a cycle did, in the shape that the terminal and the API show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, proposals, trials
from agenticrs.registry.tables import ProposalRow


def cycle_summary(engine: Engine, cycle_id: int) -> dict[str, Any]:
    """Outcome, a row for each agent that evolved, the composition's comparison, what to do next."""
    with session_scope(engine) as session:
        row = cycles.get(session, cycle_id)
        steps = {step.name: step.result for step in cycles.steps(session, cycle_id)}
        tried = trials.of_cycle(session, cycle_id)
        proposal = proposals.of_cycle(session, cycle_id)
    approved = steps.get("approve", {})
    evidence = approved.get("evidence") or (steps.get("select", {}).get("evidence"))
    verdicts = steps.get("select", {}).get("verdicts", [])
    waiting = proposal is not None and proposal.state == "waiting"
    return {
        "cycle": cycle_id,
        "kind": row.kind,
        "state": row.state,
        "why": row.request.get("why", ""),
        "outcome": row.error or _outcome(steps, proposal),
        "trials": len(tried),
        "seconds": round(sum(trial.seconds for trial in tried), 1),
        "agents": _agent_rows(verdicts, steps) or _bootstrap_rows(row.kind, steps),
        "composition": _comparisons(evidence) if evidence else [],
        "proposal": proposal.id if proposal else None,
        "next": f"agenticrs proposals show {proposal.id}" if proposal and waiting else "",
    }


def plan_rows(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How each agent evolves in a cycle and why, out of the result of its step ``plan``."""
    return [
        {
            "agent": agent,
            "method": plan["methods"][agent],
            "trials": turn["trials"],
            "why this method": plan["choices"][agent]["reason"],
            "why this turn": turn["reason"],
        }
        for agent, turn in plan.get("turns", {}).items()
    ]


def _agent_rows(verdicts: list[dict[str, Any]], steps: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each agent; with a column of simulated users where some were asked."""
    asked = any(verdict.get("simulation") for verdict in verdicts)
    return [
        {
            **_agent_row(verdict, steps),
            **({"simulated": _simulated(verdict.get("simulation"))} if asked else {}),
        }
        for verdict in verdicts
    ]


def _agent_row(verdict: dict[str, Any], steps: dict[str, Any]) -> dict[str, Any]:
    inner, outer = verdict["inner"], verdict["outer"]
    unmeasured = "not measured" if verdict.get("inside") else "not in the graph"
    numbers = steps.get("approve", {}).get("versions", {})
    return {
        "agent": verdict["agent"],
        "champion": f"{inner['metric']} {inner['before']['mean']:.4f}",
        "after": inner["after"]["mean"],
        "inner": _interval(inner["difference"]),
        "outer": _interval(outer["difference"]) if outer else unmeasured,
        "p": verdict["blended"]["p_value"],
        "verdict": f"version {number}" if (number := numbers.get(verdict["agent"])) else "stays",
        "why": verdict.get("reason", ""),
        "cost": f"{verdict['seconds']:.0f} s",
    }


def _simulated(found: dict[str, Any] | None) -> str:
    """What simulated users say; where it does not count, that it only informs."""
    if found is None:
        return "not asked"
    told = _interval(found["reward"]["difference"])
    return told if found["share"] else f"{told}, informs only"


def _bootstrap_rows(kind: str, steps: dict[str, Any]) -> list[dict[str, Any]]:
    if kind != "bootstrap":
        return []
    numbers = steps.get("approve", {}).get("versions", {})
    return [
        {"agent": agent, "reward_of_default": reward, "version": numbers.get(agent)}
        for agent, reward in steps.get("evaluate", {}).get("rewards", {}).items()
    ]


def _comparison(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "metric": found["metric"],
        "before": found["before"]["mean"],
        "after": found["after"]["mean"],
        "difference": _interval(found["difference"]),
        "p_value": found["difference"]["p_value"],
    }


def _comparisons(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    score = evidence["score"]
    blended = {
        "metric": f"blended lift (w={evidence['weight']:g})",
        "before": 0.0,
        "after": score["mean"],
        "difference": _interval(score),
        "p_value": score["p_value"],
    }
    rows = [blended, *(_comparison(evidence[key]) for key in ("reward", "inner"))]
    simulation = evidence.get("simulation")
    if simulation:
        trust = simulation["trust"]["score"]
        counts = f"counts {simulation['share']:.0%}" if simulation["share"] else "informs only"
        row = _comparison(simulation["reward"])
        rows.append({**row, "metric": f"{row['metric']} (trust {trust:.2f}, {counts})"})
    return rows


def _interval(estimate: dict[str, Any]) -> str:
    return f"{estimate['mean']:+.4f} [{estimate['low']:+.3f}, {estimate['high']:+.3f}]"


def _outcome(steps: dict[str, Any], proposal: ProposalRow | None) -> str:
    promoted = steps.get("promote", {}).get("composition")
    if promoted is not None:
        return f"composition {promoted} serves"
    canary = steps.get("promote", {}).get("canary")
    if canary is not None:
        return f"canary {canary} has begun"
    stale = steps.get("promote", {}).get("stale")
    if stale is not None:
        return f"nothing was promoted: {stale}"
    if proposal is not None and proposal.state == "waiting":
        return f"proposal {proposal.id} waits for a person"
    if proposal is not None:
        return f"proposal {proposal.id} is {proposal.state}"
    return str(steps.get("approve", {}).get("decided_by", ""))
