"""Steps that every kind of cycle shares: publishing versions, promoting, observing."""

from __future__ import annotations

from collections.abc import Mapping

from agenticrs.agents.trial import CompositionResult, run_composition
from agenticrs.evolution import segments
from agenticrs.evolution.canaries import rollout
from agenticrs.evolution.candidates import trial_files
from agenticrs.evolution.cycle import Cycle, Result, Waiting
from agenticrs.evolution.evidence import Cost, Evidence, Members
from agenticrs.evolution.outer_reward.arena import Arena, Files
from agenticrs.evolution.outer_reward.simulated_users import Verdict
from agenticrs.evolution.remembering import remember
from agenticrs.evolution.selection import BoolArray, blended, compare, guardrails
from agenticrs.platform.data.splits import make_fold, search_users
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import EvolutionError, Stale
from agenticrs.platform.jobs.job import Failed
from agenticrs.platform.tracking.port import Alias, RunRecord
from agenticrs.registry import (
    compositions,
    openings,
    policies,
    promotion,
    proposals,
    risk,
    trials,
    versions,
)
from agenticrs.registry.graph import Graph
from agenticrs.registry.model_files import flat, metric_names
from agenticrs.registry.policies import Ruling
from agenticrs.registry.tables import CompositionRow, TrialRow, VersionRow

OUTER, INNER = "value@10", "ndcg@10"
"""The reward of a whole composition: held-out value in the first ten places, and its accuracy."""


def serving_row(cycle: Cycle) -> CompositionRow | None:
    """The composition that serves on the cycle's surface."""
    with session_scope(cycle.services.engine) as session:
        return promotion.serving(session, cycle.surface)


def champion(cycle: Cycle) -> CompositionRow:
    """The composition that serves; raises EvolutionError when there is none."""
    row = serving_row(cycle)
    if row is None:
        raise EvolutionError(
            f"nothing serves on {cycle.surface!r}", hint="run `agenticrs evolve` once more"
        )
    return row


def publish_version(cycle: Cycle, trial_id: int) -> VersionRow:
    """Make a finished trial a version in MLflow and the registry (once)."""
    with session_scope(cycle.services.engine) as session:
        row = trials.get(session, trial_id)
    files = trial_files.read(cycle.trial_folder(row))
    version = versions.register(
        cycle.services.engine,
        cycle.services.tracking,
        surface=cycle.surface,
        trial_id=trial_id,
        artifacts=dict(files.artifacts),
    )
    cycle.say(f"{version.agent} version {version.number} is in MLflow")
    return version


def publish_composition(
    cycle: Cycle,
    graph: Graph,
    metrics: dict[str, float],
    parent: int | None,
    tags: Mapping[str, str] | None = None,
) -> CompositionRow:
    """Make a graph a composition in MLflow and the registry (once by content)."""
    return compositions.register(
        cycle.services.engine,
        cycle.services.tracking,
        surface=cycle.surface,
        graph=graph,
        dataset=cycle.dataset_name,
        fingerprint=cycle.fingerprint,
        metrics=metrics,
        parent=parent,
        tags=tags or {},
    )


def files_of_trial(cycle: Cycle, row: TrialRow) -> Files:
    """The files that a finished trial left."""
    return trial_files.read(cycle.trial_folder(row)).artifacts


def mark(cycle: Cycle, alias: Alias, numbers: Mapping[str, int]) -> None:
    """Point an alias of these agents at these versions.

    Only agents outside the serving composition may be marked as champions here: the others follow
    their composition when it is promoted.
    """
    for agent, number in numbers.items():
        model = versions.model_name(cycle.surface, agent)
        cycle.services.tracking.set_alias(model, alias, number)


def champion_versions(cycle: Cycle) -> dict[str, int]:
    """The version that stands for each agent: what serves, else its alias, else its last."""
    serving = serving_row(cycle)
    inside = Graph.model_validate(serving.graph).agents() if serving else {}
    models = {versions.model_name(cycle.surface, name): name for name in cycle.all_specs}
    aliases = cycle.services.tracking.aliases(list(models))
    found: dict[str, int] = {}
    with session_scope(cycle.services.engine) as session:
        for model, name in models.items():
            latest = versions.latest(session, cycle.surface, name)
            if latest is not None:
                found[name] = aliases.get(model, {}).get("champion", latest.number)
    return {**found, **inside}


def evidence_of(
    cycle: Cycle,
    answers: Mapping[str, CompositionResult | Failed],
    keys: tuple[str, str],
    *,
    reason: str,
    members: Members,
    weight: float,
    simulated: Verdict | None = None,
    unsimulated: str = "",
) -> Evidence:
    """Two measured compositions, (before, after), compared on the confirmation users.

    ``simulated`` is what simulated users say of them, ``unsimulated`` why none were asked.
    """
    pair = []
    for key in keys:
        answer = answers[key]
        if isinstance(answer, Failed):
            raise EvolutionError(f"composition {key!r}: {answer.cause}: {answer.message}")
        pair.append(answer)
    before, after = pair
    confirm = ~search_users(before.users)
    settings, seed = cycle.services.settings, cycle.request.seed
    with session_scope(cycle.services.engine) as session:
        paid = trials.of_cycle(session, cycle.id)
    return Evidence(
        reason=reason,
        weight=weight,
        score=blended(
            (before.per_user[INNER][confirm], before.per_user[OUTER][confirm]),
            (after.per_user[INNER][confirm], after.per_user[OUTER][confirm]),
            weight,
            seed=seed,
            level=1 - settings.alpha,
            heard=simulated.heard if simulated else None,
        ),
        reward=compare(
            OUTER, before.per_user[OUTER][confirm], after.per_user[OUTER][confirm], seed=seed
        ),
        inner=compare(
            INNER, before.per_user[INNER][confirm], after.per_user[INNER][confirm], seed=seed
        ),
        guardrails=guardrails(
            before.totals,
            after.totals,
            latency_limit_ms=settings.latency_limit_ms,
            coverage_floor=settings.coverage_floor,
        ),
        cost=Cost(trials=len(paid), seconds=round(sum(row.seconds for row in paid), 2)),
        members=members,
        users=int(confirm.sum()),
        segments=_segments(cycle, before, after, confirm),
        simulation=simulated.simulation if simulated else None,
        unsimulated="" if simulated else unsimulated,
    )


def published(evidence: Evidence) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and tags of a composition in MLflow, out of its evidence.

    With simulated users: their reward, its lift with the interval, every objective, the trust score
    beside its threshold, and in words whether they may decide.
    """
    metrics, found = {"reward": evidence.reward.after.mean}, evidence.simulation
    if found is None:
        return metrics, {}
    lift = found.reward.difference
    metrics |= {
        "simulated_reward": found.reward.after.mean,
        "simulated_lift": lift.mean,
        "simulated_lift_low": lift.low,
        "simulated_lift_high": lift.high,
        "simulated_share": found.share,
        "trust": found.trust.score,
        "trust_threshold": found.trust.threshold,
        **({"trust_tau": found.trust.ordering[0]} if found.trust.ordering else {}),
        **{f"simulated_{one.metric}": one.after.mean for one in found.objectives},
    }
    return metrics, {"simulated_users": found.says}


def _segments(
    cycle: Cycle, before: CompositionResult, after: CompositionResult, confirm: BoolArray
) -> dict[str, float]:
    """Mean difference of the outer reward for users with short, middle and long histories."""
    difference = after.per_user[OUTER] - before.per_user[OUTER]
    return {
        name: float(difference[mask & confirm].mean())
        for name, mask in segments.by_history(cycle.fold.dataset, before.users).items()
        if (mask & confirm).any()
    }


def file_proposal(
    cycle: Cycle,
    title: str,
    before: int | None,
    row: CompositionRow,
    evidence: Evidence | None,
) -> int:
    """File the composition, compared with ``before``, and point the challenger alias at it."""
    cycle.services.tracking.set_alias(row.model, "challenger", row.number)
    with session_scope(cycle.services.engine) as session:
        filed = proposals.file(
            session,
            surface=cycle.surface,
            cycle_id=cycle.id,
            title=title,
            before=before,
            after=row.number,
            digest=row.digest,
            evidence={} if evidence is None else evidence.model_dump(mode="json"),
            proposed_by=cycle.request.who,
        )
    # Who decides may want to see the search in MLflow, and others to learn from it meanwhile.
    log_trials(cycle)
    remember(cycle, undecided=True)
    return filed.id or 0


def ruling(
    cycle: Cycle, serving: CompositionRow | None, row: CompositionRow, evidence: Evidence | None
) -> Ruling:
    """How many people the policy wants before the composition may serve, and why."""
    settings = cycle.services.settings
    told = {} if evidence is None else evidence.model_dump(mode="json")
    before = serving.number if serving else None
    with session_scope(cycle.services.engine) as session:
        found = risk.of_change(session, cycle.surface, before, row.number, told)
        known = policies.active(session, auto_approve_agents=settings.auto_approve_agents)
    return known.rule(found)


def promote_composition(cycle: Cycle, who: str, reason: str) -> Result | Waiting:
    """Let the approved composition serve; nothing when none was proposed or it was rejected.

    With canaries it begins one (``canary.begin_for``), and serves when that has reached all users.
    What has become stale is left, and its proposal superseded: whoever approved it did so for the
    next occasion, and would be surprised if it came to serve long after, when somebody rolls back.
    """
    engine = cycle.services.engine
    number = cycle.results["approve"].get("composition")
    if number is None:
        return {"composition": None}
    with session_scope(engine) as session:
        proposal = proposals.of_cycle(session, cycle.id)
        approved = proposals.approvals(session, proposal) if proposal else []
        if proposal is not None and proposal.state == "approved" and not approved:
            proposals.expire(session, proposal)
    cause, before = "evolution", cycle.results["approve"].get("before")
    if proposal is not None:
        before = proposal.before
        if proposal.state not in ("approved", "promoted"):
            return {"composition": None, "proposal": proposal.state}
        if approved:  # else it was promoted, and their time has passed since
            who = " and ".join(decision.who for decision in approved)
            reason = "; ".join(decision.reason for decision in approved)
        cause = "approval"
    try:
        if cycle.services.settings.canary:
            return rollout.begin_for(cycle, number, who, reason, cause, proposal, before)
        promotion.promote(
            engine,
            cycle.services.tracking,
            surface=cycle.surface,
            after=number,
            who=who,
            reason=reason,
            cause=cause,
            key=f"cycle-{cycle.id}",
            instead_of=before,
        )
    except Stale as error:
        if proposal is not None:
            with session_scope(engine) as session:
                proposals.supersede(session, proposal, error.message)
        cycle.say(error.message)
        return {"composition": None, "stale": error.message}
    if proposal is not None:
        with session_scope(engine) as session:
            proposals.mark_promoted(session, proposal.id or 0)
    cycle.say(f"composition {number} serves")
    return {"composition": number}


def observe(cycle: Cycle) -> Result:
    """After a promotion: open the sealed test split once for what serves now, log all trials."""
    promoted = cycle.results["promote"].get("composition")
    metrics = open_test(cycle, promoted) if promoted is not None else {}
    logged = log_trials(cycle)
    return {
        "composition": promoted,
        "test": metrics,
        "trials_logged": logged,
        "remembered": remember(cycle),
    }


def open_test(cycle: Cycle, number: int) -> dict[str, float]:
    """Metrics of a composition on the test split; opened once for this content, then read back."""
    engine = cycle.services.engine
    with session_scope(engine) as session:
        known = openings.find(
            session,
            surface=cycle.surface,
            composition=number,
            fingerprint=cycle.fingerprint,
            split=cycle.request.split,
        )
    if known is not None:
        return known
    fold = make_fold(cycle.dataset, cycle.request.split, "test")
    if not len(fold.heldout):
        return {}
    with session_scope(engine) as session:
        graph = Graph.model_validate(compositions.get(session, cycle.surface, number).graph)
    arena = Arena(cycle)
    files = {(n.agent, n.version): dict(arena.files(n.agent, n.version)) for n in graph.nodes}
    result = run_composition(fold, graph, cycle.all_specs, files, cycle.request.depth, ())
    with session_scope(engine) as session:
        openings.record(
            session,
            surface=cycle.surface,
            composition=number,
            fingerprint=cycle.fingerprint,
            split=cycle.request.split,
            metrics=result.totals,
        )
    return result.totals


def log_trials(cycle: Cycle) -> int:
    """Log the trials that became no version to MLflow, so that its pages show the whole search."""
    with session_scope(cycle.services.engine) as session:
        rows = [row for row in trials.of_cycle(session, cycle.id) if not row.run_id]
    for row in rows:
        run_id = cycle.services.tracking.log_run(f"{cycle.surface}.trials", _run_record(row))
        with session_scope(cycle.services.engine) as session:
            trials.set_run(session, row.id or 0, run_id)
    return len(rows)


def _run_record(row: TrialRow) -> RunRecord:
    metrics = metric_names(row.metrics)
    if row.reward is not None:
        metrics["reward"] = row.reward
    return RunRecord(
        name=f"cycle-{row.cycle_id}-{row.agent}-{row.number}",
        params={
            **flat(row.config),
            "seed": row.seed,
            "fingerprint": row.fingerprint,
            "split": row.split,
        },
        metrics={**metrics, "seconds": row.seconds},
        tags={
            "agent": row.agent,
            "cycle": str(row.cycle_id),
            "method": row.method,
            "state": row.state,
            "code_version": row.code_version,
        },
    )
