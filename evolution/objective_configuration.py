"""Proposals to weigh the business objectives anew: learnt, verified by an experiment, then a row.

What serves and the compositions that a cycle would try first live with the same simulated users,
for as long as usual and three times as long. Users of the one half teach how much each early
objective tells of the long-term one, and what the old and the new weights would choose. Those of
the other half verify: is what the new ones choose worth more to them later, at no more risk? Only
then the proposal waits for a person; without their approval nothing changes, and from a world that
is not trusted nothing can be approved at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agenticrs.agents.batch import UserBatch
from agenticrs.agents.objectives.configurator import (
    TEACH,
    ConfiguratorConfig,
    ObjectiveConfigurator,
)
from agenticrs.agents.simulation.jobs import Measured
from agenticrs.evolution import compositional, stages
from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.evidence import Comparison, Trust
from agenticrs.evolution.outer_reward.arena import Arena, Entry
from agenticrs.evolution.outer_reward.simulated_users import trust_of
from agenticrs.evolution.outer_reward.simulated_world import world_of
from agenticrs.evolution.selection import compare
from agenticrs.platform.data.splits import sample_of, search_users
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError
from agenticrs.platform.jobs.job import Failed
from agenticrs.registry import memory, objectives, versions
from agenticrs.registry.graph import Graph
from agenticrs.registry.tables import MemoryRow, ObjectiveRow
from agenticrs.rewards.blend import unit
from agenticrs.rewards.objectives import Objective, Weights, outer_reward, parse, references

LATER: Objective = "long_term_value"
"""What the early objectives stand in for."""
LONGER = 3
"""Times as many days in which it is known."""
SERVING = "serving"
_RIVALS = 5
_SAME = 0.01


@dataclass(frozen=True)
class Lives:
    """Objectives of the same simulated users under one composition, early and later, (N,) each."""

    early: Measured
    later: Measured


@dataclass(frozen=True)
class Finding:
    """What a study found: the weights as shares, and whether the experiment verified them."""

    before: dict[str, float]
    after: dict[str, float]
    verified: bool
    reason: str
    chosen: tuple[str, str]
    """What the old weights choose, and the new ones."""
    worth: Comparison | None = None
    risk: Comparison | None = None


def study(
    lives: Mapping[str, Lives],
    teach: npt.NDArray[np.bool_],
    present: Weights,
    agent: ObjectiveConfigurator,
    trust: Trust,
    *,
    seed: int,
) -> Finding:
    """Learn weights from the users of ``teach`` (N,) and verify them on the others.

    ``lives`` hold what serves under ``SERVING``, and the compositions that could. Pure.
    """
    taught = {key: _tensors(one.early, teach) for key, one in lives.items()}
    usual = references(taught[SERVING])
    worth = torch.cat([torch.as_tensor(one.later[LATER][teach]) for one in lives.values()])
    usual_worth = float(lives[SERVING].later[LATER][teach].mean())
    proposed = agent.propose(
        {
            name: torch.cat(
                [(found[name] - usual[name]) / unit(usual[name]) for found in taught.values()]
            )
            for name in present.shares
        },
        (worth - usual_worth) / unit(usual_worth),
        present,
    )

    def choice(weights: Weights) -> str:
        rewards = {k: float(outer_reward(one, weights, usual).mean()) for k, one in taught.items()}
        return max(rewards, key=lambda key: (rewards[key], key == SERVING))

    before, after = (
        {str(n): s for n, s in present.shares.items()},
        {str(n): s for n, s in proposed.shares.items()},
    )
    chosen = choice(present), choice(proposed)
    old, new = (lives[key].later for key in chosen)
    gains = compare(
        f"{LATER}, {LONGER} times as long", old[LATER][~teach], new[LATER][~teach], seed=seed
    )
    risks = compare("risk", old["risk"][~teach], new["risk"][~teach], seed=seed)
    reason, verified = _judged(before, after, chosen, gains, risks, trust)
    return Finding(before, after, verified, reason, chosen, gains, risks)


def _judged(
    before: Mapping[str, float],
    after: Mapping[str, float],
    chosen: tuple[str, str],
    worth: Comparison,
    risk: Comparison,
    trust: Trust,
) -> tuple[str, bool]:
    """Why, and whether a person may be asked."""
    gain = worth.difference
    told = f"{gain.mean:+.3g} ({gain.low:+.3g} to {gain.high:+.3g}) of {worth.before.mean:.3g}"
    if max(abs(after.get(name, 0.0) - share) for name, share in before.items()) < _SAME:
        return "the weights that were learnt are those that hold", False
    if chosen[0] == chosen[1]:
        return f"old and new weights choose the same ({chosen[0]}): nothing would change", False
    if trust.doubt:
        return f"{trust.doubt}: simulated users cannot verify it (they say {told})", False
    if gain.low <= 0:
        return f"what it would choose is not shown to be worth more later: {told}", False
    if risk.difference.low > 0:
        return f"what it would choose brings more risk: {risk.difference.mean:+.3g}", False
    return f"{chosen[1]} instead of {chosen[0]} is worth more later: {told}", True


def propose(cycle: Cycle) -> ObjectiveRow:
    """Study the cycle's data, and keep what was found as a row and in the memory.

    Raises EvolutionError when nothing serves, no world can be fitted, or there is nothing to
    choose among.
    """
    settings = cycle.services.settings
    agent, by = _agent(cycle)
    present = parse(settings.objective_weights)
    entries = _entries(cycle)
    content, world = world_of(cycle)
    users = cycle.fold.users.astype(np.int64)
    users = users[~search_users(users)]
    users = users[sample_of(users, min(1.0, settings.simulated_users / max(1, len(users))))]
    reference, arena, days = cycle.runner.share(content), Arena(cycle), settings.simulated_days
    cycle.say(f"{len(entries)} compositions meet {len(users)} simulated users, twice")
    spans = [arena.live(entries, reference, users, span) for span in (days, LONGER * days)]
    lives = {}
    for key in (entry.key for entry in entries):
        early, later = (span[key] for span in spans)
        if not isinstance(early, Failed) and not isinstance(later, Failed):
            lives[key] = Lives(early, later)
    if SERVING not in lives or len(lives) < 2:
        raise EvolutionError(
            "objectives need what serves and another composition that simulated users can meet",
            hint="evolve once more, so that there are champions to compose",
        )
    nothing = torch.zeros(0, dtype=torch.int64)
    batch = UserBatch(torch.from_numpy(users), torch.zeros(len(users) + 1).long(), nothing)
    teach = (agent.act(batch, (), 1).segment == TEACH).numpy()
    if not teach.any() or teach.all():
        raise EvolutionError("too few simulated users to teach and to verify")
    trust = trust_of(world, settings.trust_threshold)
    found = study(lives, teach, present, agent, trust, seed=cycle.request.seed)
    cycle.say(found.reason)
    return _kept(cycle, by, found, trust, users=len(users))


def _agent(cycle: Cycle) -> tuple[ObjectiveConfigurator, str]:
    """The champion of the agent, or the agent at its defaults."""
    name = ObjectiveConfigurator.spec.name
    model = versions.model_name(cycle.surface, name)
    aliases = cycle.services.tracking.aliases([model])
    number = aliases.get(model, {}).get("champion")
    if number is None:
        return ObjectiveConfigurator(ConfiguratorConfig()), f"{name} at its defaults"
    with session_scope(cycle.services.engine) as session:
        config = versions.get(session, cycle.surface, name, number).config
    made = ObjectiveConfigurator(ConfiguratorConfig.model_validate(config))
    return made, f"{name} version {number}"


def _entries(cycle: Cycle) -> list[Entry]:
    """What serves, and what a compositional cycle would try first."""
    serving = Graph.model_validate(stages.champion(cycle).graph)
    entries, known = [Entry(SERVING, serving)], {serving.digest()}
    cycle.results["plan"] = compositional.plan(cycle)
    for point in compositional.propose(cycle)["given"]:
        graph, files = compositional.candidate(cycle, point)
        if graph.digest() not in known and len(entries) <= _RIVALS:
            known.add(graph.digest())
            entries.append(Entry(" + ".join(sorted(graph.agents())), graph, files))
    return entries


def _kept(cycle: Cycle, by: str, found: Finding, trust: Trust, *, users: int) -> ObjectiveRow:
    evidence: dict[str, Any] = {
        "chosen_before": found.chosen[0],
        "chosen_after": found.chosen[1],
        "worth": None if found.worth is None else found.worth.model_dump(mode="json"),
        "risk": None if found.risk is None else found.risk.model_dump(mode="json"),
        "trust": trust.model_dump(mode="json"),
        "users": users,
        "days": cycle.services.settings.simulated_days,
    }
    with session_scope(cycle.services.engine) as session:
        row = objectives.file(
            session,
            ObjectiveRow(
                surface=cycle.surface,
                proposed_by=by,
                before=found.before,
                after=found.after,
                evidence=evidence,
                state="waiting" if found.verified else "refused",
                reason=found.reason,
            ),
        )
        memory.remember(
            session,
            MemoryRow(
                surface=cycle.surface,
                agent=ObjectiveConfigurator.spec.name,
                key=f"objectives:{row.id}",
                origin="surrogate",
                proposal="objectives " + in_words(found.after),
                reason="early objectives shall tell what users are worth later",
                outcome={} if found.worth is None else {"lift": found.worth.difference.mean},
                verdict="better" if found.verified else "worse",
                lesson=found.reason,
                dataset=cycle.dataset_name,
                fingerprint=cycle.fingerprint,
            ),
        )
        return row


def in_words(shares: Mapping[str, float]) -> str:
    """Weights as the setting writes them."""
    return ",".join(f"{name}={share:.4g}" for name, share in shares.items())


def _tensors(measured: Measured, rows: npt.NDArray[np.bool_]) -> dict[Objective, Tensor]:
    return {cast(Objective, n): torch.as_tensor(v[rows].copy()) for n, v in measured.items()}
