"""How good an agent's lists are on held-out users: full ranking, one value for each user.

Everything is computed here from the items that an agent puts out, never from what it says about
itself; items that may not be recommended (seen, repeated, outside the catalogue) count as misses.

===================== ======================================================================
per user              ndcg@10, recall@10, recall@50, mrr@10, hit@10, value@10 (business value
                      captured), novelty@10, diversity@10 (where items have tags or categories),
                      the agent's own inner reward, and what its spec wants told as well
totals                the means, and coverage@10, gini@10
===================== ======================================================================

An agent whose decisions are no lists is judged on what is generated for them instead
(``measure_decisions``): one case for each held-out user, so that searching and deciding see
different ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, Route
from agenticrs.agents.item_vectors import (
    described_vectors,
    genre_shares,
    item_vectors,
    mean_shares,
)
from agenticrs.agents.simulation.chooser.offers import CHOICE, choice_accuracy
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import AgentSpec, InnerReward, Port
from agenticrs.rewards.beyond_accuracy import coverage, gini, intra_list_diversity, novelty
from agenticrs.rewards.experiments.quality import Course, decision_quality
from agenticrs.rewards.expert_routing import routing_health
from agenticrs.rewards.outer import captured_value
from agenticrs.rewards.ranking import order_auc, ranking_metrics
from agenticrs.rewards.surrogate import Scheme, objective_quality

SLATE = 10
"""How many items people see; beyond-accuracy and business metrics are cut here."""
_ACCURACY = ("ndcg@10", "recall@10", "recall@50", "mrr@10", "hit@10")
_AUC = "auc"
_FAMILIES = ("ndcg", "recall", "precision", "hit", "mrr", "map", _AUC)
_RELEVANCE_SHARE = 0.8
_ROUTING = "relevance_routing"
_DECISIONS: dict[str, tuple[str, type[Any], Callable[..., Any]]] = {
    "decision_quality": ("course", Course, decision_quality),
    "objective_quality": ("scheme", Scheme, objective_quality),
}
"""Inner reward of decisions -> the agent's attribute that says them, its type, and the judge."""
_LUCK = 0
"""Seed of what is generated: all candidates meet the same."""
_CHUNK = 1024


@dataclass(frozen=True)
class Evaluation:
    """``per_user``: metric -> (U,) float64, ``ranked``: (U, K) int64 as it was counted."""

    per_user: dict[str, Tensor]
    totals: dict[str, float]
    ranked: Tensor


def evaluate(
    agent: Agent[Any],
    data: TrainingData,
    heldout: Heldout,
    inputs: Sequence[Candidates] = (),
    k: int = 100,
) -> Evaluation:
    """Let the agent act for all held-out users and measure its lists.

    ``inputs`` are the candidates that feed the agent, in order, rows as ``heldout.users``. For a
    router they are instead the lists of the paths it chooses among, in the order of its segments,
    and each user's list is the one it chose. Raises AgentError when the agent puts out something
    unsound, or is a model whose scores cannot tell items apart.
    """
    spec = agent.spec
    if decides_without_lists(spec):
        return measure_decisions(agent, len(heldout.users))
    k = max(k, spec.inner_reward.k, 50)
    ranked = act_for(agent, data, heldout.users, inputs, k)
    return measure(ranked, data, heldout, spec.inner_reward, asked(agent, data, heldout, inputs))


def asked(
    agent: Agent[Any], data: TrainingData, heldout: Heldout, inputs: Sequence[Candidates]
) -> Tensor | None:
    """What an inner reward needs besides the agent's lists, (U,); None for most agents.

    How well a router of experts routes, or how often a simulated user chooses what the real one
    took. Raises AgentError when the agent cannot be asked.
    """
    inner = agent.spec.inner_reward
    if inner.metric == CHOICE:
        return choice_accuracy(agent, data, heldout, inner.k)
    return router_health(agent, data, heldout.users, inputs)


def decides_without_lists(spec: AgentSpec) -> bool:
    """Whether it is its decisions that are measured, and no lists."""
    return spec.inner_reward.metric in _DECISIONS


def measure_decisions(agent: Agent[Any], cases: int) -> Evaluation:
    """The quality of an agent's decisions in so many generated cases, one value for each.

    Raises AgentError when the agent does not say how it decides (``course``, ``scheme``).
    """
    metric, name = agent.spec.inner_reward.metric, str(agent.spec.inner_reward)
    attribute, kind, judge = _DECISIONS[metric]
    decides = getattr(agent, attribute, None)
    if not isinstance(decides, kind):
        raise AgentError(f"{agent.spec.name} is judged by its decisions and has no {attribute}")
    if not cases:
        raise AgentError("there are no held-out users to evaluate on")
    found = judge(decides, runs=cases, seed=_LUCK)
    totals = {name: float(found.shares.mean()), **found.totals()}
    nothing = torch.zeros(cases, 0, dtype=torch.int64)
    return Evaluation({name: found.shares}, totals, nothing)


def router_health(
    agent: Agent[Any], data: TrainingData, users: Tensor, inputs: Sequence[Candidates]
) -> Tensor | None:
    """How well an agent that is judged by it routes to its experts, (U,); None for all others.

    Raises AgentError when the agent does not say how it routes (``shares``).
    """
    if agent.spec.inner_reward.metric != _ROUTING:
        return None
    shares = getattr(agent, "shares", None)
    if shares is None:
        raise AgentError(f"{agent.spec.name} is judged as a router and has no method shares")
    now = data.histories.take(users)
    with torch.inference_mode():
        return routing_health(shares(now, inputs), shares(now.without_newest(), inputs))


def act_for(
    agent: Agent[Any], data: TrainingData, users: Tensor, inputs: Sequence[Candidates], k: int
) -> Tensor:
    """The agent's lists for ``users`` (U,), a chunk at a time, (U, k) int64 with -1 pads."""
    parts: list[Candidates] = []
    with torch.inference_mode():
        for start in range(0, len(users), _CHUNK):
            chunk = users[start : start + _CHUNK]
            batch = data.histories.take(chunk)
            rows = slice(start, start + len(chunk))
            own = [Candidates(source.items[rows], source.scores[rows]) for source in inputs]
            if agent.spec.loop.output is Port.ROUTE:
                answer = _chosen(agent.act(batch, (), k), own, agent.spec)
            else:
                found = agent.act(batch, own, k)
                answer = lists.check(found, len(chunk), data.n_items)
            answer = lists.widen(answer, k)
            keep = lists.allowed(answer.items, batch, data.n_items)
            parts.append(Candidates(answer.items.masked_fill(~keep, -1), answer.scores))
        if not parts:
            raise AgentError("there are no held-out users to evaluate on")
        if agent.spec.kind == "model" and agent.spec.loop.output is Port.CANDIDATES:
            _refuse_constant_scores(parts)
        return torch.cat([part.items for part in parts])


def measure(
    ranked: Tensor,
    data: TrainingData,
    heldout: Heldout,
    inner: InnerReward | None = None,
    besides: Tensor | None = None,
) -> Evaluation:
    """Metrics of ranked lists (U, K), rows as ``heldout.users``.

    ``besides`` is what was ``asked`` of an agent whose inner reward needs it.
    Raises AgentError when ``inner`` names a metric that is not known here.
    """
    slate = ranked[:, :SLATE]
    per_user = _accuracy(ranked, heldout, inner)
    per_user[f"value@{SLATE}"] = captured_value(
        ranked, heldout.offsets, heldout.items, heldout.value, SLATE
    )
    counts = torch.bincount(data.histories.items, minlength=data.n_items)
    per_user[f"novelty@{SLATE}"] = novelty(slate, counts)
    vectors = described_vectors(data.item_features)
    if vectors is not None:
        per_user[f"diversity@{SLATE}"] = intra_list_diversity(slate, vectors)
    if inner is not None and inner.metric in (*_SECOND, _ROUTING):
        relevance = _accuracy(ranked, heldout, InnerReward(metric="ndcg", k=inner.k))
        if besides is None:
            second = _SECOND[inner.metric](ranked[:, : inner.k], data, heldout)
        else:
            second = besides
        per_user[str(inner)] = (
            _RELEVANCE_SHARE * relevance[f"ndcg@{inner.k}"] + (1 - _RELEVANCE_SHARE) * second
        )
    if inner is not None and inner.metric == CHOICE and besides is not None:
        per_user[str(inner)] = besides
    return Evaluation(per_user, _totals(per_user, slate, data.n_items), ranked)


def _accuracy(ranked: Tensor, heldout: Heldout, inner: InnerReward | None) -> dict[str, Tensor]:
    wanted = list(_ACCURACY)
    if inner is not None and inner.metric in _FAMILIES:
        wanted.append(str(inner))
    elif inner is not None and inner.metric not in (*_SECOND, _ROUTING, CHOICE):
        raise AgentError(
            f"inner reward {inner} is not known",
            hint="metrics: " + ", ".join((*_FAMILIES, *_SECOND, _ROUTING, *_DECISIONS, CHOICE)),
        )
    wanted += inner.also if inner is not None else ()
    truth = (heldout.offsets, heldout.items)
    cuts = sorted({_cut(name) for name in wanted})
    computed = ranking_metrics(ranked, *truth, cuts)
    computed |= {n: order_auc(ranked, *truth, _cut(n)) for n in wanted if n.startswith(_AUC)}
    return {name: computed[name] for name in wanted}


def _cut(name: str) -> int:
    return int(name.rpartition("@")[2])


def _diversity(slate: Tensor, data: TrainingData, heldout: Heldout) -> Tensor:
    return intra_list_diversity(slate, item_vectors(data))


def _novelty(slate: Tensor, data: TrainingData, heldout: Heldout) -> Tensor:
    """Novelty over the largest that an item of this log could have: in [0, 1]."""
    counts = torch.bincount(data.histories.items, minlength=data.n_items)
    largest = novelty(counts.argmin().expand(1, 1), counts)
    return novelty(slate, counts) / largest.clamp(min=1e-12)


def _calibration(slate: Tensor, data: TrainingData, heldout: Heldout) -> Tensor:
    """1 - half the absolute difference between the genres of history and list: in [0, 1]."""
    shares = genre_shares(data)
    wanted = mean_shares(data.histories.take(heldout.users), shares)
    shown = (slate >= 0)[..., None]
    listed = (shares[slate.clamp(min=0)] * shown).sum(1) / shown.sum(1).clamp(min=1)
    return (1 - 0.5 * (wanted - listed).abs().sum(1)).to(torch.float64)


_SECOND: dict[str, Callable[[Tensor, TrainingData, Heldout], Tensor]] = {
    "relevance_diversity": _diversity,
    "relevance_novelty": _novelty,
    "relevance_calibration": _calibration,
}
"""What re-rankers trade accuracy for: one fifth of their inner reward."""


def _totals(per_user: Mapping[str, Tensor], slate: Tensor, n_items: int) -> dict[str, float]:
    totals = {name: float(values.mean()) for name, values in per_user.items()}
    totals[f"coverage@{SLATE}"] = coverage(slate, n_items)
    totals[f"gini@{SLATE}"] = gini(slate, n_items)
    return totals


def _chosen(answer: object, paths: Sequence[Candidates], spec: AgentSpec) -> Candidates:
    """For each user the list of the path that the router chose."""
    if not isinstance(answer, Route):
        raise AgentError(f"{spec.name} put out {type(answer).__name__} where a route was expected")
    if len(paths) != len(spec.segments):
        raise AgentError(
            f"{spec.name} tells {len(spec.segments)} segments apart "
            f"({', '.join(spec.segments)}), but there are {len(paths)} lists to choose from",
            hint="give one list for each segment, in that order",
        )
    segment = answer.segment
    n_users = len(paths[0].items)
    if segment.shape != (n_users,) or bool(((segment < 0) | (segment >= len(paths))).any()):
        raise AgentError(f"{spec.name} put out a segment that it did not declare")
    width = max(path.items.shape[1] for path in paths)
    wide = [lists.widen(path, width) for path in paths]
    row = torch.arange(n_users, device=segment.device)
    return Candidates(
        torch.stack([path.items for path in wide])[segment, row],
        torch.stack([path.scores for path in wide])[segment, row],
    )


def _refuse_constant_scores(parts: Sequence[Candidates]) -> None:
    """A model that collapsed gives every item the same score; its order means nothing."""
    several = False
    for part in parts:
        shown = part.items >= 0
        low = part.scores.masked_fill(~shown, torch.inf).amin(1)
        high = part.scores.masked_fill(~shown, -torch.inf).amax(1)
        if bool((high > low).any()):
            return
        several = several or bool((shown.sum(1) > 1).any())
    if several:
        raise AgentError(
            "all scores are equal: the agent cannot tell items apart",
            hint="training collapsed; try a lower learning rate or less regularisation",
        )
