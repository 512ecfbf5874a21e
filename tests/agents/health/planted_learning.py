"""Agents with a defect of training, order or sight; each says which check finds it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from tests.agents.health.plain import LONGEST, Plain, Taste
from tests.agents.health.planted import Defects
from torch import Tensor, nn

from agenticrs.agents.agent import Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.fusion.reciprocal_rank import ReciprocalRankFusion
from agenticrs.agents.grammar.network import Batch
from agenticrs.agents.ranking.classics import DeepFm
from agenticrs.agents.reranking.mmr import Mmr
from agenticrs.agents.retrieval.bpr import BprMF
from agenticrs.agents.retrieval.itemknn import ItemKNN
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.retrieval.sasrec import SASRec
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Fold

defects = Defects()
planted = defects.planted


# -- one batch overfits


@planted("one batch is learnt")
class LabelsShuffledAnewInEveryStep(Plain):
    def loss(self, past: Tensor, target: Tensor) -> Tensor:
        return super().loss(past, target[torch.randperm(len(target))])


@planted("one batch is learnt")
class LearningRateOfZero(Plain):
    def rate(self) -> float:
        return 0.0


@planted("one batch is learnt")
class OptimiserOfOtherWeights(Plain):
    def trained(self) -> list[nn.Parameter]:
        return [nn.Parameter(weight.detach().clone()) for weight in self.network.parameters()]


@planted("one batch is learnt")
class LossIsMaximised(Plain):
    def loss(self, past: Tensor, target: Tensor) -> Tensor:
        return 100 - super().loss(past, target)


@planted("one batch is learnt")
class LabelsOffByOneItem(Plain):
    def loss(self, past: Tensor, target: Tensor) -> Tensor:
        return super().loss(past, (target + 1) % self.n_items)


# -- gradients reach every parameter


class Detached(Taste):
    def mixed(self, mean: Tensor) -> Tensor:
        return super().mixed(mean).detach()


@planted("gradients reach every parameter")
class LayerIsDetached(Plain):
    network_type = Detached


class Dead(Taste):
    def mixed(self, mean: Tensor) -> Tensor:
        return torch.relu(self.mix(mean) - 100)


@planted("gradients reach every parameter")
class LayerOfDeadUnits(Plain):
    network_type = Dead


@planted("gradients reach every parameter")
class OptimiserLacksALayer(Plain):
    def trained(self) -> list[nn.Parameter]:
        return [self.network.items, self.network.bias]


class Unused(Taste):
    def __init__(self, n_items: int, width: int) -> None:
        super().__init__(n_items, width)
        self.second = nn.Linear(width, width)

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        nn.init.normal_(self.second.weight, generator=generator)
        nn.init.zeros_(self.second.bias)


@planted("gradients reach every parameter")
class LayerThatNothingReads(Plain):
    network_type = Unused


@planted("every weight learns")
class VectorsThatAreNeverTrained(BprMF):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        generator = torch.Generator().manual_seed(self.seed)
        self.items = torch.randn(self.items.shape, generator=generator)
        self._index()


# -- collapse


class Blind(Taste):
    def query(self, past: Tensor) -> Tensor:
        return super().query(torch.zeros_like(past))


@planted("users are told apart")
class HistoryNeverReachesTheScores(Plain):
    network_type = Blind


class Flat(Taste):
    def query(self, past: Tensor) -> Tensor:
        return super().query(past).mean(1, keepdim=True).expand(-1, self.items.shape[1])


@planted("users are told apart")
class QueriesOfOneDimension(Plain):
    network_type = Flat

    def score(self, users: UserBatch) -> Tensor:
        return super().score(users) - self.network.bias


@planted("users are told apart")
class RowsOfItemsAreIdentical(BprMF):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.items = self.items.mean(0).expand_as(self.items).clone()
        self._index()


@planted("users are told apart")
class RowsOfUsersAreIdentical(BprMF):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.users = self.users.mean(0).expand_as(self.users).clone()
        self._index()


# -- numbers


@planted("numbers are finite")
class WeightThatIsNoNumber(BprMF):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.bias[0] = torch.nan


@planted("numbers are finite")
class WeightThatIsInfinite(Popularity):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.popularity = self.popularity / 0.0


@planted("it trains")
class LossThatIsNoNumber(Plain):
    def loss(self, past: Tensor, target: Tensor) -> Tensor:
        return super().loss(past, target) + torch.log(torch.tensor(-1.0))


# -- the answer among the inputs


@planted("one batch is learnt")
class TargetAmongTheInputs(Plain):
    def examples(self, data: TrainingData) -> tuple[Tensor, Tensor]:
        past, target = super().examples(data)
        return torch.where(past[:, -1:] >= -1, target[:, None], past), target


@planted("the target is hidden", slow=True)
class CandidateInTheHistory(DeepFm):
    def _lists(self, *given: Any) -> Batch:
        batch = super()._lists(*given)
        assert batch.candidates is not None
        items = torch.cat([batch.candidates[:, :1], batch.items[:, 1:]], 1)
        return replace(batch, items=items, lengths=batch.lengths.clamp(min=1))


@planted("the target is hidden", slow=True)
class WindowsThatEndTooLate(SASRec):
    def _windows(self, *given: Any) -> Iterator[tuple[float, tuple[Batch, Tensor]]]:
        for done, (batch, target) in super()._windows(*given):
            yield done, (replace(batch, items=target), target)


# -- held-out rows


@planted("held-out rows are hidden")
class ReadsTheFoldOfItsCaller(Popularity):
    def score(self, users: UserBatch) -> Tensor:
        scores, frame = super().score(users), sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            found = frame.f_locals.get("fold")
            if isinstance(found, Fold):
                return _knowing(scores, users, found)
        return scores


@planted("held-out rows are hidden")
class SearchesMemoryForHeldoutRows(Popularity):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.told = [
            found
            for found in gc.get_objects()
            if type(found) is Fold and found.dataset.n_items == data.n_items
        ]

    def score(self, users: UserBatch) -> Tensor:
        scores = super().score(users)
        for fold in self.told:
            scores = _knowing(scores, users, fold)
        return scores


@planted("held-out rows are hidden")
class RankerThatReadsTheFold(Mmr):
    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        frame: Any = sys._getframe()
        while frame is not None and not isinstance(frame.f_locals.get("fold"), Fold):
            frame = frame.f_back
        if frame is None:
            return super().act(users, inputs, k)
        scores = _knowing(torch.zeros(len(users), self.n_items), users, frame.f_locals["fold"])
        items = inputs[0].items
        own = scores.gather(1, items.clamp(min=0)).masked_fill(items < 0, -torch.inf)
        best = own.topk(min(k, items.shape[1]), dim=1)
        return Candidates(items.gather(1, best.indices), best.values)


def _knowing(scores: Tensor, users: UserBatch, fold: Fold) -> Tensor:
    """The scores with what is held out on top."""
    scores = scores.clone()
    row_of = {int(user): row for row, user in enumerate(users.users)}
    for user, item in zip(fold.heldout.user, fold.heldout.item, strict=True):
        if int(user) in row_of and int(item) < scores.shape[1]:
            scores[row_of[int(user)], int(item)] = 1e6
    return scores


# -- the wrong way up


@planted("order is the right way up")
class NegatedCounts(Popularity):
    def score(self, users: UserBatch) -> Tensor:
        return -super().score(users)


@planted("order is the right way up")
class NegatedVotes(ItemKNN):
    def score(self, users: UserBatch) -> Tensor:
        return -super().score(users)


@planted("order is the right way up")
class NegatedDotProducts(Plain):
    def score(self, users: UserBatch) -> Tensor:
        return -super().score(users)


@planted("order is the right way up", slow=True)
class NegatedLogits(DeepFm):
    def combined(self, logits: Any) -> Tensor:
        return -super().combined(logits)


def _turned(answer: Candidates) -> Candidates:
    """The items from last to first, with the scores in the order in which they were."""
    count = (answer.items >= 0).sum(1, keepdim=True)
    place = count - 1 - torch.arange(answer.items.shape[1])
    items = answer.items.gather(1, place.clamp(min=0))
    return Candidates(items.masked_fill(place < 0, -1), answer.scores)


@planted("order is the right way up")
class FusionFromTheWorstOn(ReciprocalRankFusion):
    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        return _turned(super().act(users, inputs, k))


@planted("order is the right way up")
class RerankerFromTheWorstOn(Mmr):
    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        return _turned(super().act(users, inputs, k))


# -- random numbers and shared data


@planted("training repeats")
class GlobalRandomNumbersOfTorch(Plain):
    def loss(self, past: Tensor, target: Tensor) -> Tensor:
        return super().loss(torch.where(torch.rand(past.shape) < 0.1, -1, past), target)


@planted("training repeats")
class GlobalRandomNumbersOfNumpy(BprMF):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.items += torch.from_numpy(1e-3 * np.random.rand(*self.items.shape)).float()
        self._index()


@planted("global random state is left alone")
class SeedsTorchForEverybody(Plain):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        torch.manual_seed(self.seed)
        super().fit(data, budget)


@planted("global random state is left alone")
class SeedsNumpyForEverybody(Popularity):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        np.random.seed(self.seed)
        super().fit(data, budget)


@planted("training data is left alone")
class ShufflesTheHistoriesInPlace(Popularity):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        data.histories.items[: LONGEST // 2] = data.histories.items[: LONGEST // 2].flip(0)


@planted("training data is left alone")
class CountsEveryRowAsTaken(Popularity):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        data.events.label.fill_(1.0)
        super().fit(data, budget)
