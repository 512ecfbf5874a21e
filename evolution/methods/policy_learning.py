"""How a policy learns: an actor-critic, off-policy, from the trials of all cycles at once.

The critic learns Q, the discounted return of a row, by Retrace (Munos et al. 2016, arXiv
1606.02647). The actor climbs a doubly robust gradient (Dudik et al. 2011, arXiv 1103.4601): what
the critic expects of fresh draws, corrected at the rows that were tried by how wrong the critic is
there, with truncated importance weights as in ACER (Wang et al. 2016, arXiv 1611.01224). The price
of entropy is learnt so that entropy stays near a target (Haarnoja et al. 2018, arXiv 1812.05905),
which falls as trials come in and never ends at zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_network import Networks
from agenticrs.evolution.methods.policy_state import Experience, PolicyState

STEPS = 60
"""Steps of the optimiser before each answer, which so takes a fraction of a second."""
CLOSING_STEPS = 600
"""Steps for the version that is stored when a cycle ends: it has time to learn from all cycles."""
_BATCH = 48
"""Trials of this cycle, and as many of all cycles, in a step."""
_DRAWS = 8
"""Fresh draws in each state, for values and gradients."""
_DISCOUNT = 0.2
"""A candidate is worth mostly what it brings itself; a little, what those after it bring."""
_LOOK_AHEAD = 4
"""Steps of Retrace; the discount leaves nothing of later ones."""
_MOST_WEIGHT = 2.0
"""Where importance weights are cut off."""
_HELD = 10
"""Steps for which targets are held."""
_RATE, _DECAY = 8e-3, 1e-2
_FIRST, _SECOND = 0.9, 0.99
_RANGE_ENTROPY, _CHOICE_ENTROPY = -1.3, 0.25
"""Least entropy at the end of annealing: nats of each range below uniform, share of a choice's."""
_ANNEALING = 40.0
"""After so many trials, half of the way to the least entropy is gone."""


def learn(
    actions: Actions, state: PolicyState, cycle: Experience, *, seed: int, steps: int
) -> PolicyState:
    """The next version: ``state`` after ``steps`` on the trials of ``cycle`` and on all it knows.

    Trials of a cycle that it knows already are replaced (some may have got their reward since).
    The same arguments give the same version. Without trials there is nothing to learn: the state
    comes back as it was.
    """
    if not len(cycle):
        return state
    memory = state.memory.with_cycle(cycle)
    networks = Networks(actions, memory.states.shape[1])
    generator = torch.Generator().manual_seed(seed)
    own = (memory.cycles == cycle.cycles[0]).nonzero().squeeze(1)
    target_entropy = entropy_target(actions, len(memory))
    weights, first, second = (t.clone() for t in (state.weights, state.first, state.second))
    returns = torch.zeros(len(memory))
    with _one_thread():
        for step in range(steps):
            if step % _HELD == 0:
                returns = _returns(networks, weights, memory, generator)
            picked = torch.cat([_some(own, generator), _some(torch.arange(len(memory)), generator)])
            batch = memory.take(picked)
            leaf = weights.requires_grad_()
            loss = _loss(networks, leaf, batch, returns[picked], target_entropy, generator)
            (gradient,) = torch.autograd.grad(loss, leaf)
            weights = weights.detach()
            _adam(weights, gradient, first, second, state.steps + step + 1)
            networks.bound_temperature(weights)
    return replace(
        state,
        version=state.version + 1,
        weights=weights,
        first=first,
        second=second,
        steps=state.steps + steps,
        memory=memory,
    )


def entropy_target(actions: Actions, trials: int) -> float:
    """The entropy, relative to uniform, that is aimed at after so many trials."""
    choices = sum(
        -(1 - _CHOICE_ENTROPY) * float(torch.tensor(float(options)).log())
        for options in actions.options
    )
    least = _RANGE_ENTROPY * len(actions.ranges) + choices
    return least * trials / (trials + _ANNEALING)


def _returns(
    networks: Networks, weights: Tensor, memory: Experience, generator: torch.Generator
) -> Tensor:
    """Retrace targets of all trials (T,): r + g (V' + c' (target' - Q')), c' = min(1, pi / mu)."""
    with torch.no_grad():
        parts = networks.parts(weights)
        draws = networks.draws(parts, memory.states)
        fresh = draws.draw(_DRAWS, generator)
        value = networks.values(parts, memory.states, fresh).mean(0)
        known = networks.values(parts, memory.states, memory.rows)
        trace = (draws.log_density(memory.rows) - memory.log_behaviour).exp().clamp(max=1.0)
        goes_on = torch.zeros(len(memory))
        goes_on[:-1] = (memory.cycles[1:] == memory.cycles[:-1]).to(torch.float32)
        target = known
        for _ in range(_LOOK_AHEAD):
            ahead = (value + trace * (target - known)).roll(-1)
            target = memory.rewards + _DISCOUNT * goes_on * ahead
        return target


def _loss(
    networks: Networks,
    weights: Tensor,
    batch: Experience,
    returns: Tensor,
    target_entropy: float,
    generator: torch.Generator,
) -> Tensor:
    """Losses of actor, critic and temperature; each is blind to the others' weights."""
    parts = networks.parts(weights)
    draws = networks.draws(parts, batch.states)
    log_density, entropy = draws.log_density(batch.rows), draws.entropy()
    temperature = networks.temperature(parts)
    fresh = draws.draw(_DRAWS, generator)  # (K, B, D)
    value = networks.values(parts, batch.states, batch.rows)
    with torch.no_grad():
        expected = networks.values(parts, batch.states, fresh)  # (K, B)
        advantage = (expected - expected.mean(0)) / (1 - 1 / _DRAWS)
        weight = (log_density - batch.log_behaviour).exp().clamp(max=_MOST_WEIGHT)
        correction = weight * (returns - value)
    climbed = (advantage * draws.log_density(fresh)).mean(0) + correction * log_density
    actor = -(climbed + temperature.detach() * entropy).mean()
    critic = functional.smooth_l1_loss(value, returns)
    price = temperature.log() * (entropy.detach().mean() - target_entropy)
    return actor + critic + price


def _adam(weights: Tensor, gradient: Tensor, first: Tensor, second: Tensor, step: int) -> None:
    """One step of AdamW (Loshchilov & Hutter 2019), in place."""
    gradient = gradient / gradient.norm().clamp(min=1.0)
    first.lerp_(gradient, 1 - _FIRST)
    second.lerp_(gradient.square(), 1 - _SECOND)
    rescaled = (second / (1 - _SECOND**step)).sqrt() + 1e-8
    weights.mul_(1 - _RATE * _DECAY).sub_(_RATE * (first / (1 - _FIRST**step)) / rescaled)


def _some(indices: Tensor, generator: torch.Generator) -> Tensor:
    """All of them, or as many as fit into half a batch, drawn without replacement."""
    if len(indices) <= _BATCH:
        return indices
    return indices[torch.randperm(len(indices), generator=generator)[:_BATCH]]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices this small are faster on one thread, and then sums have one order everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
