"""Whether the data of a cycle are sound, and what has changed since the champion was made.

Changes are new rows, a world that moved, other objectives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from agenticrs.evolution import blueprint, fold_health, stages
from agenticrs.evolution.cycle import Cycle, Result
from agenticrs.evolution.drift import NOTHING, Look, drift
from agenticrs.evolution.services import Services
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.database import session_scope
from agenticrs.registry import agents, cycles, promotion
from agenticrs.registry.spec import AgentSpec
from agenticrs.registry.tables import CompositionRow


def sense(cycle: Cycle) -> Result:
    """Look at the snapshot that the cycle works on. Raises EvolutionError when it is not sound."""
    cycle.results["sense"] = {"fold": fold_health.examined(cycle)}
    fold_health.demand(cycle.results["sense"]["fold"])
    return {**cycle.results["sense"], **_changes(cycle)}


def _changes(cycle: Cycle) -> Result:
    serving = stages.serving_row(cycle)
    rows = len(cycle.dataset.interactions)
    told: Result = {"agents": digest(cycle.all_specs)}
    if cycle.request.why:
        told["why"] = cycle.request.why
        cycle.say(f"{cycle.request.kind} because {cycle.request.why}")
    if serving is None:
        cycle.say(f"nothing serves on {cycle.surface!r} yet; {rows:,} interactions to learn from")
        return {**told, "serving": None, "interactions": rows, "new_interactions": rows}
    look = cycle.look
    if look is None or (look.champion, look.snapshot) != (serving.fingerprint, cycle.fingerprint):
        look = _since(cycle.services, serving, cycle.dataset)
    known, moved, alpha = look.known, look.drift, cycle.services.settings.alpha
    cycle.say(
        f"composition {serving.number} serves; {rows - known:,} new interactions since"
        + (", and they have drifted" if moved.detected(alpha) else "")
    )
    return {
        **told,
        "serving": serving.number,
        "champion_fingerprint": serving.fingerprint,
        "interactions": rows,
        "new_interactions": rows - known,
        "drift": {**moved.as_json(), "detected": moved.detected(alpha)},
    }


def look_at(services: Services, surface: str, dataset: Dataset) -> Look | None:
    """How a snapshot differs from what the champion knew; None when nothing serves."""
    with session_scope(services.engine) as session:
        serving = promotion.serving(session, surface)
    return None if serving is None else _since(services, serving, dataset)


def restructure_first(services: Services, surface: str, look: Look | None) -> str:
    """Why the graph should change before single agents do; empty when nothing speaks for it.

    Drift of the newest rows against the champion's window, or objective weights that differ from
    those of the last compositional cycle. Nothing speaks for it while nothing serves.
    """
    if look is None:
        return ""
    if look.drift.detected(services.settings.alpha):
        signal = max(look.drift.signals, key=lambda s: s.deviation)
        return f"{signal.name} have drifted (p {look.drift.p_value:.3f})"
    with session_scope(services.engine) as session:
        plan = cycles.last_plan(session, surface, "compositional")
        fusions = blueprint.of_role(specs := agents.admitted(session), "fusion")
    before, objectives = plan.get("outer_weight"), plan.get("objectives")
    weight = max((specs[name].outer_weight for name in fusions), default=before)
    if before is not None and weight != before:
        return f"the outer reward's weight was {before:g} and is {weight:g} now"
    settings = services.settings
    wanted = settings.objective_weights if settings.simulated_users else objectives
    if objectives is not None and wanted != objectives:
        return f"business objectives have other weights: {settings.objectives}"
    return ""


def digest(specs: Mapping[str, AgentSpec]) -> str:
    """Of all that agents say of themselves: another one when one comes, goes or changes."""
    told = {name: spec.model_dump(mode="json") for name, spec in specs.items()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _since(services: Services, serving: CompositionRow, dataset: Dataset) -> Look:
    """How many rows the champion knew, and how the others differ from them."""
    known: Any = 0
    if serving.dataset == dataset.name:
        known = len(services.datasets.load(serving.dataset, serving.fingerprint).interactions)
    moved = drift(dataset, known) if known else NOTHING
    return Look(serving.fingerprint, dataset.fingerprint, known, moved)
