"""What another policy would have earned, out of the log of the one that served.

A log keeps for each decision the probability with which it was made (its propensity). Rows count by
how much more often the policy that is asked about would have decided so: w = target / propensity.

====== ===========================================================================================
IPS    mean of w r: unbiased where propensities are right (Horvitz & Thompson 1952)
SNIPS  sum of w r over sum of w: a little bias, far less spread where weights vary (Swaminathan &
       Joachims 2015, The self-normalized estimator for counterfactual learning)
DM     mean of what a model of the reward expects of the target: as right as the model
DR     DM, and IPS of what the model left over: right where propensities *or* the model are
       (Dudik, Langford & Li 2011, Doubly robust policy evaluation and learning)
====== ===========================================================================================

``target`` (n,) is everywhere the probability of the logged decision under the policy asked about. A
model is told as two vectors: what it expects of the decision that was made, and on average of what
the target would decide (``expected``). It must not have seen the row that it speaks of
(``cross_fitted_means``), else DR is as blind as the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

from agenticrs.platform.errors import DataError

_CELLS_AT_ONCE = 4_000_000
_SLACK = 1e-6
"""Probabilities are often kept as float32."""
_STRANGE = 1e-6
"""Weights whose mean differs from 1 with a smaller p-value than this are refused."""


@dataclass(frozen=True)
class Logged:
    """What a policy decided: ``reward`` (n,) and ``propensity`` (n,), in (0, 1], both float64.

    ``group`` (n,) says which rows hang together (a code for each user), so that intervals are right
    where one user has several rows; None: every row stands alone.
    """

    reward: Tensor
    propensity: Tensor
    group: Tensor | None = None

    @staticmethod
    def of(reward: Tensor, propensity: Tensor, group: Tensor | None = None) -> Logged:
        """Checked. Raises DataError for what is no log: nothing, or impossible numbers in it."""
        if reward.ndim != 1 or not len(reward) or reward.shape != propensity.shape:
            raise DataError(
                "a log needs a reward and a propensity for each row, got "
                f"{tuple(reward.shape)} and {tuple(propensity.shape)}"
            )
        if group is not None and group.shape != reward.shape:
            raise DataError(f"a group for each row: {len(group)} groups, {len(reward)} rows")
        rewards = reward.detach().to("cpu", torch.float64)
        chances = propensity.detach().to("cpu", torch.float64)
        _refuse(~rewards.isfinite(), "reward", rewards, "a reward must be a finite number")
        _refuse(
            ~(chances > 0) | (chances > 1 + _SLACK),
            "propensity",
            chances,
            "it is the probability of what was done, in (0, 1]; log it when deciding, since it "
            "cannot be told afterwards",
        )
        return Logged(rewards, chances, None if group is None else group.detach().cpu())

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class Worth:
    """An estimate of the mean reward, and how far it can be trusted.

    ``low`` and ``high`` are the normal interval. ``effective`` is the number of rows of equal
    weight that would say as much; ``heaviest`` the largest share that one row has in all weights.
    ``clipped`` is the share of rows whose weight was cut.
    """

    value: float
    low: float
    high: float
    error: float
    """Standard error."""
    effective: float
    heaviest: float
    clipped: float
    numerator: Tensor
    denominator: Tensor
    """The value is the mean of the one, (n,), over the mean of the other."""


def weights(log: Logged, target: Tensor, *, clip: float | None = None) -> Tensor:
    """min(target / propensity, clip), (n,) float64.

    A limit trades variance for bias towards 0. Raises DataError when ``target`` is no vector of
    probabilities or its weights cannot be: without a limit they average 1 whatever the policies
    are, if propensities are right and the log holds all that the target might do.
    """
    wanted = _probabilities(log, target)
    ratio = wanted / log.propensity
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive, got {clip}")
    _refuse_strange(log, ratio)
    return ratio if clip is None else ratio.clamp(max=clip)


def effective_sample_size(weight: Tensor) -> float:
    """(sum w)^2 / sum w^2 (Kish 1965): between 1 and n; 0 where all weights are 0."""
    squares = float(weight.square().sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def ips(log: Logged, target: Tensor, *, clip: float | None = None, level: float = 0.95) -> Worth:
    """Inverse propensity scoring: the mean of w r."""
    weight = weights(log, target, clip=clip)
    return _worth(log, weight * log.reward, torch.ones_like(weight), weight, target, level)


def snips(log: Logged, target: Tensor, *, clip: float | None = None, level: float = 0.95) -> Worth:
    """Self-normalised: sum w r / sum w. Does not change when a constant is added to all rewards.

    Raises DataError when the target does nothing that the log holds.
    """
    weight = weights(log, target, clip=clip)
    if not float(weight.sum()) > 0:
        raise DataError(
            "the policy asked about never does what the log holds",
            hint="its log and this one have no decision in common: explore, or use a model",
        )
    return _worth(log, weight * log.reward, weight, weight, target, level)


def direct(log: Logged, of_target: Tensor, *, level: float = 0.95) -> Worth:
    """The direct method: the mean of ``of_target`` (n,), what a model expects of the target.

    Its interval knows nothing of the model's own error.
    """
    told = _predictions(log, of_target)
    one = torch.ones_like(told)
    return _worth(log, told, one, one, None, level)


def doubly_robust(
    log: Logged,
    target: Tensor,
    of_logged: Tensor,
    of_target: Tensor,
    *,
    clip: float | None = None,
    level: float = 0.95,
) -> Worth:
    """DM plus IPS of what the model left over: mean of of_target + w (r - of_logged).

    ``of_logged`` and ``of_target`` (n,) are a model's rewards of the decision that was made, and
    on average of the target's. Clipping then only limits how much the model is corrected.
    """
    weight = weights(log, target, clip=clip)
    left = log.reward - _predictions(log, of_logged)
    share = _predictions(log, of_target) + weight * left
    return _worth(log, share, torch.ones_like(weight), weight, target, level)


def expected(model: Tensor, policy: Tensor) -> Tensor:
    """What a model (n, A) of the reward expects of a policy (n, A) in each row, (n,) float64.

    Raises DataError when rows of ``policy`` are no probabilities that sum to 1.
    """
    if model.shape != policy.shape or model.ndim != 2:
        raise DataError(f"shapes differ: model {tuple(model.shape)}, policy {tuple(policy.shape)}")
    chances = policy.to(torch.float64)
    sums = chances.sum(1)
    if bool((chances < 0).any()) or bool(((sums - 1).abs() > 1e-4).any()):
        row = int(((sums - 1).abs() + (chances < 0).any(1)).argmax())
        raise DataError(f"row {row} of the policy is no distribution: it sums to {sums[row]:.6g}")
    return (model.to(torch.float64) * chances).sum(1)


def cross_fitted_means(
    reward: Tensor,
    decision: Tensor,
    n_decisions: int,
    *,
    folds: int = 5,
    strength: float = 10.0,
    seed: int,
) -> Tensor:
    """A simple model of the reward, (n, n_decisions): mean of each decision in the *other* folds.

    ``decision`` (n,) are codes. Means are drawn to the mean of all by ``strength`` rows' worth, so
    that a rare decision is not believed. Raises ValueError for fewer than two folds or rows.
    """
    n = len(reward)
    if not 2 <= folds <= n:
        raise ValueError(f"folds must lie between 2 and the {n} rows, got {folds}")
    generator = torch.Generator().manual_seed(seed)
    fold = torch.randperm(n, generator=generator) % folds
    place = fold * n_decisions + decision
    shape = (folds, n_decisions)
    values = reward.to(torch.float64)
    sums = torch.bincount(place, values, minlength=folds * n_decisions).view(shape)
    counts = torch.bincount(place, minlength=folds * n_decisions).view(shape).to(torch.float64)
    others, seen = sums.sum(0) - sums, counts.sum(0) - counts
    overall = others.sum(1, keepdim=True) / seen.sum(1, keepdim=True)
    means = (others + strength * overall) / (seen + strength)
    return means[fold]


def bootstrap_interval(
    log: Logged, worth: Worth, *, samples: int = 1000, level: float = 0.95, seed: int
) -> tuple[float, float]:
    """Percentile interval over resampled groups (rows, where there are none).

    The ratio of SNIPS is formed anew in every resample. With few heavy rows it is wider, and more
    honest, than the normal one; a row that the log lacks is missing in both.
    """
    _check_level(level)
    above, below = _by_group(log, worth.numerator), _by_group(log, worth.denominator)
    n = len(above)
    generator = torch.Generator().manual_seed(seed)
    found = torch.empty(samples, dtype=torch.float64)
    at_once = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, samples, at_once):
        stop = min(start + at_once, samples)
        drawn = torch.randint(n, (stop - start, n), generator=generator)
        found[start:stop] = above[drawn].sum(1) / below[drawn].sum(1).clamp(min=1e-300)
    tail = (1 - level) / 2
    low, high = torch.quantile(found, torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return float(low), float(high)


def _worth(
    log: Logged,
    numerator: Tensor,
    denominator: Tensor,
    weight: Tensor,
    target: Tensor | None,
    level: float,
) -> Worth:
    """The ratio of two means, with the error of its linear part (delta method)."""
    _check_level(level)
    value = float(numerator.sum() / denominator.sum())
    share = _by_group(log, numerator - value * denominator)
    n = len(share)
    spread = float(share.square().sum()) * n / max(1, n - 1)
    error = math.sqrt(spread) / float(denominator.sum())
    reach = NormalDist().inv_cdf(0.5 + level / 2) * error
    total = float(weight.sum())
    cut = 0.0 if target is None else float((weight < _ratio(log, target)).double().mean())
    return Worth(
        value=value,
        low=value - reach,
        high=value + reach,
        error=error,
        effective=effective_sample_size(weight),
        heaviest=float(weight.max()) / total if total > 0 else 0.0,
        clipped=cut,
        numerator=numerator,
        denominator=denominator,
    )


def _by_group(log: Logged, values: Tensor) -> Tensor:
    """Sums over the rows of each group, (groups,)."""
    if log.group is None:
        return values
    codes, place = torch.unique(log.group, return_inverse=True)
    return values.new_zeros(len(codes)).index_add_(0, place, values)


def _ratio(log: Logged, target: Tensor) -> Tensor:
    return target.detach().to("cpu", torch.float64) / log.propensity


def _probabilities(log: Logged, target: Tensor) -> Tensor:
    if target.shape != log.reward.shape:
        raise DataError(f"a probability for each row: got {len(target)}, the log has {len(log)}")
    wanted = target.detach().to("cpu", torch.float64)
    outside = ~(wanted >= 0) | (wanted > 1 + _SLACK)
    _refuse(outside, "target", wanted, "it is the target's probability of the logged decision")
    return wanted


def _predictions(log: Logged, told: Tensor) -> Tensor:
    if told.shape != log.reward.shape:
        raise DataError(f"a prediction for each row: got {len(told)}, the log has {len(log)}")
    found = told.detach().to("cpu", torch.float64)
    _refuse(~found.isfinite(), "prediction", found, "the model's rewards must be finite")
    return found


def _refuse(wrong: Tensor, what: str, values: Tensor, hint: str) -> None:
    if bool(wrong.any()):
        row = int(wrong.to(torch.int8).argmax())
        several = f", and {int(wrong.sum()) - 1} more rows" if int(wrong.sum()) > 1 else ""
        raise DataError(f"row {row}: {what} {float(values[row]):.6g}{several}", hint=hint)


def _refuse_strange(log: Logged, weight: Tensor) -> None:
    """Weights average 1. A few heavy ones hide much, so only what is beyond doubt is refused."""
    mean = float(weight.mean())
    share = _by_group(log, weight - mean)
    n = len(share)
    if n < 100:
        return
    error, off = float(share.std()) * math.sqrt(n) / len(weight), abs(mean - 1)
    if off > 1e-3 and (error == 0 or 2 * NormalDist().cdf(-off / error) < _STRANGE):
        raise DataError(
            f"the weights average {mean:.3g} where they must average 1",
            hint="the propensities are not those of this log, or the policy asked about does "
            "what the log's policy never or hardly ever did",
        )


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")
