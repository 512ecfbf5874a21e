"""How a policy learns: a natural actor-critic, off-policy, from the trials of all cycles at once.

The critic says what a row is worth in a state, in the features of the policy (compatible, Sutton
et al. 1999): a part that all cycles share, and a part and a level of each cycle's own. It is fitted
by regularised least squares, in which a trial weighs as much as the policy would draw it more often
than whoever drew it (truncated), to returns corrected by Retrace (Munos et al. 2016, arXiv
1606.02647). With such a critic the natural gradient of the expected return is the critic's weights
themselves (Kakade 2001; Peters & Schaal 2008), and that of entropy the actor's, so the actor moves
towards the critic over a price of entropy. The price is the one at which entropy is on its target
(Haarnoja et al. 2018, arXiv 1812.05905), which falls as trials come in and never ends at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.evolution.methods.policy_draws import Draws, Features, FloatArray
from agenticrs.evolution.methods.policy_experience import spread
from agenticrs.evolution.methods.policy_state import Experience, PolicyState

_ROUNDS = 5
"""Turns of critic and actor."""
_PACE = 0.6
"""Share of the way to its goal that the actor goes in a turn."""
_DISCOUNT, _LOOK_AHEAD = 0.2, 4
"""A candidate is worth mostly what it brings itself; a little, what those after it bring."""
_LEAST_WEIGHT, _MOST_WEIGHT = 0.25, 2.0
"""Where importance weights are cut off: no trial is lost, none rules."""
_SHARED, _OWN, _LEVEL = 0.2, 0.2, 4.0
"""Variances, before any trial: of a weight of all cycles, of one cycle, of a cycle's level."""
_NOISES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Variances of the noise, in the unit of those above, among which the likeliest is taken."""
_LEAST_UNEXPLAINED = 0.1
"""Spread that is left however well few trials are explained."""
_CAUTION = 0.5
"""The price of entropy is at least this many standard errors of what the critic expects."""
_DEAREST = 1e3
"""Bound of the price, at which a policy is as good as uniform."""
_RANGE_ENTROPY, _CHOICE_ENTROPY = -1.2, 0.25
"""Least entropy at the end of annealing: nats of each range below uniform, share of a choice's."""
_ANNEALING = 20.0
"""After so many trials, half of the way to the least entropy is gone."""


@dataclass(frozen=True)
class Learnt:
    """What is known after some trials of a cycle."""

    state: PolicyState
    """The next version."""
    own: FloatArray
    """(M,): what the cycle's own trials add to the strengths of the features, in any state."""

    def draws(self, actions: Actions, now: FloatArray) -> Draws:
        """What to try in a state (S,) of this cycle."""
        features = Features(actions)
        return features.draws(features.of_states(now[None]) @ self.state.actor + self.own)


def learn(actions: Actions, state: PolicyState, *cycles: Experience) -> Learnt:
    """The next version, after the trials of ``cycles`` and all that ``state`` remembers.

    Trials of a cycle that it knows already are replaced (some may have got their reward since).
    Without trials there is nothing to learn: the state stays as it is. Of several cycles, the last
    one is the present one.
    """
    features = Features(actions)
    lived = [cycle for cycle in cycles if len(cycle)]
    if not lived:
        return Learnt(state, np.zeros(features.shape[1]))
    memory = state.memory
    for cycle in lived:
        memory = memory.with_cycle(cycle)
    z, phi = features.of_states(memory.states), features.of_rows(memory.rows)
    alike = memory.cycles[:, None] == memory.cycles
    mine = memory.cycles == lived[-1].cycles[0]
    near = phi @ phi.T
    covariance = _SHARED * (z @ z.T) * near + alike * (_OWN * near + _LEVEL)
    goes_on = np.append(memory.cycles[1:] == memory.cycles[:-1], False)
    target_entropy = entropy_target(actions, len(memory))
    actor, own = state.actor, np.zeros(features.shape[1])
    returns = memory.rewards
    noise, unit = _likeliest_noise(covariance, returns)
    cheapest = _CAUTION * math.sqrt(unit * noise * phi.shape[1] / len(memory))
    for _ in range(_ROUNDS):
        policy = features.draws(z @ actor + np.outer(mine, own))
        ratio = np.exp(policy.log_density(memory.rows) - memory.log_behaviour)
        weight = np.clip(ratio, _LEAST_WEIGHT, _MOST_WEIGHT)
        pull = np.linalg.solve(covariance + np.diag(noise / weight), returns)
        critic = _SHARED * (z * pull[:, None]).T @ phi  # (Z, M)
        each = alike @ (pull[:, None] * phi)  # (T, M): of the cycle of each trial
        strengths, level = z @ critic + _OWN * each, _LEVEL * (alike @ pull)
        value = level + (strengths * policy.expected()).sum(1)
        known = level + (strengths * phi).sum(1)
        returns = _returns(memory.rewards, known, value, np.minimum(ratio, 1.0), goes_on)
        mine_now = strengths[mine]
        price = _price(features, mine_now, cheapest, target_entropy)
        actor = actor + _PACE * (critic / price - actor)
        own = own + _PACE * (_OWN * each[mine][0] / price - own)
    rest = memory.rewards - level - ((z @ critic) * phi).sum(1)
    after = replace(
        state,
        version=state.version + 1,
        actor=actor,
        critic=critic,
        unexplained=max(spread(rest), _LEAST_UNEXPLAINED),
        memory=memory,
    )
    return Learnt(after, own)


def entropy_target(actions: Actions, trials: int) -> float:
    """The entropy, relative to uniform, that is aimed at after so many trials."""
    choices = -(1 - _CHOICE_ENTROPY) * sum(math.log(options) for options in actions.options)
    least = _RANGE_ENTROPY * len(actions.ranges) + choices
    return least * trials / (trials + _ANNEALING)


def _returns(
    rewards: FloatArray,
    known: FloatArray,
    value: FloatArray,
    trace: FloatArray,
    goes_on: npt.NDArray[np.bool_],
) -> FloatArray:
    """Retrace targets of all trials (T,): r + g (V' + c' (target' - Q')), c' = min(1, pi / mu)."""
    target = known
    for _ in range(_LOOK_AHEAD):
        ahead = np.roll(value + trace * (target - known), -1)
        target = rewards + _DISCOUNT * goes_on * ahead
    return target


def _likeliest_noise(covariance: FloatArray, rewards: FloatArray) -> tuple[float, float]:
    """The noise under which the rewards (T,) would have been likeliest, and the unit it is in.

    How large signal and noise are together is the unit, which is known once their ratio is.
    """
    found = {}
    for noise in _NOISES:
        lower = np.linalg.cholesky(covariance + noise * np.eye(len(rewards)))
        unit = max(float(np.square(np.linalg.solve(lower, rewards)).mean()), 1e-6)
        surprise = 0.5 * len(rewards) * math.log(unit) + float(np.log(np.diag(lower)).sum())
        found[surprise] = noise, unit
    return found[min(found)]


def _price(
    features: Features, strengths: FloatArray, cheapest: float, target_entropy: float
) -> float:
    """The price at which a policy that is greedy but for it has that entropy, by bisection."""
    low, high = math.log(cheapest), math.log(_DEAREST)
    for _ in range(20):
        middle = 0.5 * (low + high)
        entropy = features.draws(strengths / math.exp(middle)).entropy().mean()
        low, high = (middle, high) if entropy < target_entropy else (low, middle)
    return math.exp(0.5 * (low + high))
