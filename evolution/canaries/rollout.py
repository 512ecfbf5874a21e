"""Canaries carried out: from feedback to a step of the ladder, and from its decision to MLflow.

The ladder itself is pure (``agents/experimentation/canary.py``). Here each step is one transaction
(users counted, state, audit entry), guarded by the version that was read: of two at once one is
refused. What a state demands of MLflow is done afterwards and is repeated until it has been done
(``settle``): killed in between, the next step goes on there, and the promotion's key keeps it from
happening twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from sqlalchemy import Engine
from sqlmodel import Session
from torch import Tensor

from agenticrs.agents.experimentation import canary as ladders
from agenticrs.agents.experimentation.canary import Answer, Canary, Ladder
from agenticrs.agents.experimentation.observation import Observation
from agenticrs.evolution.canaries import outcomes
from agenticrs.evolution.canaries.rules import LATENCY, LEAVING, REWARD, rules_of
from agenticrs.evolution.cycle import Cycle, Result, Waiting
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import NotAllowed, NotFound, Stale
from agenticrs.platform.tracking.port import Tracking
from agenticrs.registry import canaries, compositions, intentions, promotion, proposals
from agenticrs.registry.canaries import Due
from agenticrs.registry.tables import CanaryRow, ProposalRow, utc_now
from agenticrs.rewards.experiments.assignment import assign
from agenticrs.rewards.experiments.cuped import cuped
from agenticrs.rewards.experiments.sequential import Sample

POLICY = "policy: canary"
ANSWERS: Mapping[str, Answer] = {
    "watch": "watch",
    "advance": "advance",
    "rollback": "roll back",
}
"""What a person may say, in the words of commands and forms."""
_AGES = 20.0
CANDIDATE, CHAMPION = 0, 1
"""Places of the arms in what ``assign`` gives: the candidate stands first and grows."""


def begin(
    engine: Engine,
    tracking: Tracking,
    *,
    surface: str,
    after: int,
    ladder: Ladder,
    horizon: float,
    key: str,
    who: str,
    reason: str,
    cause: str,
    proposal: int | None = None,
    instead_of: int | None = None,
) -> CanaryRow:
    """Show composition ``after`` to the first stage's share of the users; once for a key.

    ``horizon``: seconds after a user's first request in which what they do counts. The rest is for
    the promotion at the end. ``instead_of``: what it was compared with before, and so what must
    serve until now. Raises NotFound when nothing serves, or for an unknown composition, Stale when
    that does not serve, Conflict while another canary is under way.
    """
    state = Canary(ladder=ladder)
    with session_scope(engine) as session:
        serving = promotion.serving(session, surface)
        if serving is None:
            raise NotFound(f"nothing serves on {surface!r} that a canary could be compared with")
        compositions.get(session, surface, after)
        row = canaries.begin(
            session,
            CanaryRow(
                surface=surface,
                key=key,
                before=serving.number if instead_of is None else instead_of,
                after=after,
                state="running",
                ladder=state.model_dump(mode="json"),
                share=state.share,
                salt=f"canary {surface} {key}",
                horizon=horizon,
                dataset=serving.dataset,
                feedback_from=0,
                proposal_id=proposal,
                who=who,
                reason=reason,
                cause=cause,
            ),
        )
    return settle(engine, tracking, row)


def begin_for(
    cycle: Cycle,
    number: int,
    who: str,
    reason: str,
    cause: str,
    proposal: ProposalRow | None,
    instead_of: int | None,
) -> Result | Waiting:
    """Show the composition to few users first. Raises Stale when ``instead_of`` does not serve.

    While another canary is under way, what a person approved waits for its end, and what only
    policy approved is left: a later cycle finds it again. So is what an earlier canary rejected.
    """
    engine, settings = cycle.services.engine, cycle.services.settings
    key = outcomes.key_of(cycle.id)
    with session_scope(engine) as session:
        other = canaries.under_way(session, cycle.surface)
        rejected = canaries.rejection(session, cycle.surface, number)
    if other is not None and other.key != key:
        told = {"composition": None, "waits_for_canary": other.id}
        cycle.say(f"canary {other.id} is under way")
        return told if proposal is None else Waiting(told)
    if other is None and proposal is None and rejected is not None:
        cycle.say(f"composition {number} was rejected by its canary: {rejected}")
        return {"composition": None, "rejected_by_canary": rejected}
    tracking = cycle.services.tracking
    rules = rules_of(engine, tracking, settings, cycle.surface)
    row = begin(
        engine,
        tracking,
        surface=cycle.surface,
        after=number,
        ladder=rules.ladder,
        horizon=settings.canary_horizon,
        key=key,
        who=who,
        reason=reason,
        cause=cause,
        proposal=None if proposal is None else proposal.id,
        instead_of=instead_of,
    )
    cycle.say(
        f"canary {row.id}: composition {number} is shown to {row.share:.0%} of the users, "
        f"by the rules of {rules.by}"
    )
    return {"composition": None, "canary": row.id, "rules": rules.by}


def step(
    engine: Engine,
    tracking: Tracking,
    datasets: DatasetStore,
    surface: str,
    now: float | None = None,
) -> CanaryRow:
    """Let the users whose rewards have come due count, and do what the ladder then decides.

    ``now``: Unix seconds. Raises NotFound when no canary is under way, AgentError while a person is
    asked, Conflict when somebody else changed it meanwhile, TrackingError when MLflow cannot be
    reached: what is left to do is then done by the next call.
    """
    row = settle(engine, tracking, current(engine, surface))
    if not row.under_way:
        return row
    with session_scope(engine) as session:
        overtaken = intentions.why_stale(session, surface, row.before)
    if overtaken:
        return _overtaken(engine, tracking, row)
    dataset = datasets.load(row.dataset)
    with session_scope(engine) as session:
        due = canaries.due(session, row, time.time() if now is None else now)
        state = ladders.step(Canary.model_validate(row.ladder), observation(row, due, dataset))
        canaries.let_count(session, row, due)
        row = _write(session, row, state, POLICY)
    return settle(engine, tracking, row)


def answer(
    engine: Engine, tracking: Tracking, surface: str, choice: Answer, *, who: str, reason: str
) -> CanaryRow:
    """What a person says when the canary asks; ``roll back`` also while it runs.

    Raises NotAllowed without a reason, NotFound when no canary is under way, AgentError when
    nothing was asked, Conflict when somebody else changed it meanwhile.
    """
    reason = reason.strip()
    if not reason:
        raise NotAllowed("an answer needs a reason", hint="say why in a sentence")
    row = settle(engine, tracking, current(engine, surface))
    if row.state == "running" and choice == "roll back":
        return _rolled_back(engine, tracking, row, who, reason)
    state = ladders.answer(Canary.model_validate(row.ladder), choice, reason=reason)
    with session_scope(engine) as session:
        row = _write(session, row, state, who)
    return settle(engine, tracking, row)


def broke(engine: Engine, tracking: Tracking, canary_id: int, *, who: str, reason: str) -> None:
    """The candidate could not be loaded, or an agent of it failed: that guardrail is broken.

    Nothing when that canary is over, or its candidate was promoted. Raises TrackingError when
    MLflow cannot be reached: it is rolled back then, and its alias goes with the next step.
    """
    with session_scope(engine) as session:
        row = session.get(CanaryRow, canary_id)
    if row is not None and row.under_way and row.state in ("running", "paused"):
        _rolled_back(engine, tracking, row, who, reason)


def settle(engine: Engine, tracking: Tracking, row: CanaryRow) -> CanaryRow:
    """Do what the state demands and has not been done yet; harmless to repeat."""
    if not row.under_way:
        return row
    with session_scope(engine) as session:
        model = compositions.get(session, row.surface, row.after).model
        serving = promotion.serving(session, row.surface)
    if row.state in ("running", "paused"):
        tracking.set_alias(model, "canary", row.after)
        return row
    if row.state == "promoted" and (serving is None or serving.number != row.after):
        try:
            promotion.promote(
                engine,
                tracking,
                surface=row.surface,
                after=row.after,
                who=row.who,
                reason=row.reason,
                cause=row.cause,
                key=row.key,
                instead_of=row.before,
            )
        except Stale:  # since the step that decided so, or while a person was asked
            return _overtaken(engine, tracking, row)
    tracking.delete_alias(model, "canary")
    with session_scope(engine) as session:
        if row.proposal_id is not None and row.state == "promoted":
            proposals.mark_promoted(session, row.proposal_id)
        elif row.proposal_id is not None:
            rejected = row.ladder["decision"] == "roll back"
            proposals.mark_ended(session, row.proposal_id, "rejected" if rejected else "superseded")
        outcomes.remember(session, row)
        return canaries.finish(session, row)


def current(engine: Engine, surface: str) -> CanaryRow:
    """The canary that is under way; raises NotFound."""
    with session_scope(engine) as session:
        row = canaries.under_way(session, surface)
    if row is None:
        raise NotFound(
            f"no canary is under way on {surface!r}",
            hint="with AGENTICRS_CANARY a composition that is promoted begins one",
        )
    return row


def is_due(row: CanaryRow) -> bool:
    """Whether the schedule steps it: once for each horizon, and at once when something was left."""
    if row.state == "paused":
        return False
    waited = (utc_now() - row.stepped_at).total_seconds()
    return row.state != "running" or waited >= row.horizon


def observation(row: CanaryRow, due: Sequence[Due], dataset: Dataset) -> Observation:
    """What a step has shown: reward, users who left, milliseconds of their answers.

    Whom the arm's border has passed since their first request saw both compositions: they tell
    nothing of the difference. Where the border lies no reward has decided, so leaving them out is
    fair. The shares of the arms are those of all who came due, by where they belong now. Where the
    ladder says so, what the same users brought before is taken out of the reward.
    """
    arms = assign([one.user_id for one in due], row.salt, (row.share, 1 - row.share)).tolist()
    stayed = [
        one for one, now in zip(due, arms, strict=True) if one.candidate == (now == CANDIDATE)
    ]
    treated = torch.tensor([one.candidate for one in stayed], dtype=torch.bool)
    reward = _exact([reward_of(one.events, dataset) for one in stayed])
    if stayed and Canary.model_validate(row.ladder).ladder.adjust:
        reward = cuped(reward, _exact([reward_of(one.before, dataset) for one in stayed])).reward
    values = {
        REWARD: reward,
        LEAVING: _exact([float(one.answers <= 1) for one in stayed]),
        LATENCY: _latency(_exact([one.milliseconds for one in stayed]), treated),
    }
    return Observation(
        treatment={name: Sample.of(found[treated]) for name, found in values.items()},
        control={name: Sample.of(found[~treated]) for name, found in values.items()},
        exposed=(arms.count(CANDIDATE), arms.count(CHAMPION)),
    )


def _latency(milliseconds: Tensor, treated: Tensor) -> Tensor:
    """Without the few that took ages, of which no mean can tell anything: at most so many medians.

    The champion's median, so that a candidate that hangs cannot hide how slow it is.
    """
    usual = milliseconds[~treated] if bool((~treated).any()) else milliseconds
    return milliseconds.clamp(max=_AGES * float(usual.median())) if len(usual) else milliseconds


def _exact(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def reward_of(events: Sequence[Mapping[str, float]], dataset: Dataset) -> float:
    """What a user brought: the value that the dataset declares, else the number of positives."""
    if dataset.value is not None:
        return float(sum(event.get(dataset.value, 0.0) for event in events))
    positive = dataset.positive
    return float(sum(e.get(positive.behaviour, 0.0) >= positive.minimum for e in events))


def _overtaken(engine: Engine, tracking: Tracking, row: CanaryRow) -> CanaryRow:
    """Somebody has let another composition serve: there is nothing left to compare with."""
    with session_scope(engine) as session:
        serves = intentions.history(session, row.surface, limit=1)[0].after
    state = Canary.model_validate(row.ladder)
    ended: dict[str, object] = {
        "status": "rolled back",
        "decision": "hold",
        "reason": f"composition {serves} serves now, not {row.before}, with which it was compared",
    }
    if serves == row.after:
        ended = {
            "status": "promoted",
            "decision": "advance",
            "stage": len(state.ladder.stages) - 1,
            "reason": "somebody let it serve all users",
        }
    state = state.model_copy(update=ended)
    with session_scope(engine) as session:
        row = _write(session, row, state, POLICY)
    return settle(engine, tracking, row)


def _rolled_back(
    engine: Engine, tracking: Tracking, row: CanaryRow, who: str, reason: str
) -> CanaryRow:
    state = Canary.model_validate(row.ladder).model_copy(
        update={"status": "rolled back", "decision": "roll back", "reason": reason}
    )
    with session_scope(engine) as session:
        row = _write(session, row, state, who)
    return settle(engine, tracking, row)


def _write(session: Session, row: CanaryRow, state: Canary, who: str) -> CanaryRow:
    return canaries.change(
        session,
        row,
        state=state.status,
        ladder=state.model_dump(mode="json"),
        share=state.share,
        who=who,
        decision=state.decision,
        reason=state.reason,
    )
