"""Agents with a defect in what they put out, keep, or claim; each says which check finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from tests.agents.health.plain import LONGEST, Plain, Taste
from tests.agents.health.planted import Defects
from torch import Tensor, nn
from torch.nn import functional

from agenticrs.agents.agent import AgentConfig, Budget
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.reranking.mmr import Mmr
from agenticrs.agents.retrieval.bpr import BprMF
from agenticrs.agents.retrieval.itemknn import ItemKNN
from agenticrs.agents.retrieval.popularity import Popularity
from agenticrs.agents.routing.history_length import HistoryLengthRouter
from agenticrs.agents.training_data import TrainingData

defects = Defects()
planted = defects.planted
Lists = Sequence[Candidates]


# -- training and acting are two modes


@planted("answers repeat")
class DropoutWhileActing(Plain):
    def score(self, users: UserBatch) -> Tensor:
        return functional.dropout(super().score(users), 0.2)


@planted("answers repeat")
class RemembersHowOftenItWasAsked(Popularity):
    asked = 0

    def score(self, users: UserBatch) -> Tensor:
        self.asked += 1
        return super().score(users) * self.asked


@planted("users of a batch are independent")
class NormalisesOverTheBatch(Plain):
    def score(self, users: UserBatch) -> Tensor:
        scores = super().score(users)
        return (scores - scores.mean(0)) / (scores.std(0, unbiased=False) + 1e-5)


@planted("users of a batch are independent")
class MeasuresAgainstTheFirstUser(ItemKNN):
    def score(self, users: UserBatch) -> Tensor:
        scores = super().score(users)
        return scores - scores[:1]


class Running(Taste):
    def __init__(self, n_items: int, width: int) -> None:
        super().__init__(n_items, width)
        self.norm = nn.BatchNorm1d(width, affine=False)

    def mean(self, past: Tensor) -> Tensor:
        mean: Tensor = self.norm(super().mean(past)) if len(past) > 1 else super().mean(past)
        return mean


@planted("acting changes no weight")
class BatchNormLeftInTrainingMode(Plain):
    network_type = Running


@planted("acting changes no weight")
class LearnsWhileActing(Popularity):
    def score(self, users: UserBatch) -> Tensor:
        self.popularity.index_add_(0, users.items, torch.ones(len(users.items)))
        return super().score(users)


# -- unusual users


class Unguarded(Taste):
    def mean(self, past: Tensor) -> Tensor:
        real = (past >= 0)[..., None]
        return (self.items[past.clamp(min=0)] * real).sum(1) / real.sum(1)


@planted("everybody gets an answer")
class DividesByTheLengthOfAHistory(Plain):
    network_type = Unguarded

    def examples(self, data: TrainingData) -> tuple[Tensor, Tensor]:
        past, target = super().examples(data)
        some = (past >= 0).any(1)
        return past[some], target[some]


@planted("everybody gets an answer")
class LooksUpUsersItDoesNotKnow(Popularity):
    def score(self, users: UserBatch) -> Tensor:
        table = torch.zeros(self.n_users)
        return super().score(users) + table.index_select(0, users.users)[:, None]


@planted("everybody gets an answer")
class LooksUpItemsItDoesNotKnow(Popularity):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        self.popularity.index_select(0, users.items)
        return super().act(users, inputs, k)


@planted("everybody gets an answer")
class OverflowsForLongHistories(Popularity):
    def score(self, users: UserBatch) -> Tensor:
        return super().score(users) * users.lengths.to(torch.float32).exp()[:, None]


@planted("everybody gets an answer")
class NothingForNewcomers(Popularity):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        answer = super().act(users, inputs, k)
        new = (users.lengths == 0)[:, None]
        return Candidates(
            answer.items.masked_fill(new, -1), answer.scores.masked_fill(new, -torch.inf)
        )


# -- lists


class Listed(Popularity):
    """Popularity whose lists are changed by ``changed``."""

    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        answer = super().act(users, inputs, k)
        return self.changed(Candidates(answer.items.clone(), answer.scores.clone()), users)

    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        return answer


@planted("answers are sound")
class SeenItems(Popularity):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        best = super().score(users).topk(min(k, self.n_items), dim=1)
        return Candidates(best.indices, best.values)


@planted("answers are sound")
class AnItemTwice(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        answer.items[:, 1:2] = answer.items[:, :1]
        return answer


@planted("answers are sound")
class AnItemOutsideTheCatalogue(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        answer.items[:, :1] = self.n_items
        return answer


@planted("answers are sound")
class ItemsInThirtyTwoBits(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        return Candidates(answer.items.to(torch.int32), answer.scores)


@planted("answers are sound")
class APadInTheMiddle(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        answer.items[:, 2:3], answer.scores[:, 2:3] = -1, -torch.inf
        return answer


@planted("answers are sound")
class PadsWithAScore(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        answer.items[:, -1:], answer.scores[:, -1:] = -1, -1e9
        return answer


@planted("answers are sound")
class MoreThanWereAskedFor(Popularity):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        return super().act(users, inputs, k + 5)


@planted("answers are sound")
class WorstFirst(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        return Candidates(answer.items.flip(1), answer.scores.flip(1))


@planted("answers are sound")
class AListMissing(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        return Candidates(answer.items[1:], answer.scores[1:])


@planted("answers are sound")
class InfiniteScores(Listed):
    def changed(self, answer: Candidates, users: UserBatch) -> Candidates:
        return Candidates(answer.items, answer.scores.masked_fill(answer.items >= 0, torch.inf))


@planted("answers are sound")
class AnItemThatNoListOffered(Mmr):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        answer = super().act(users, inputs, k)
        free = torch.ones(len(users), self.n_items)
        for source in inputs:
            free.scatter_(1, source.items.clamp(min=0), 0.0)
        free[users.rows, users.items.clamp(max=self.n_items - 1)] = 0.0
        items = torch.cat([free.argmax(1, keepdim=True), answer.items[:, 1:]], 1)
        return Candidates(items, answer.scores)


@planted("answers are sound")
class ASegmentThatWasNotDeclared(HistoryLengthRouter):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Route:
        return Route(users.lengths)


# -- what is handed over, kept, and saved


@planted("arguments are left alone")
class SortsHistoriesInPlace(Popularity):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        users.items.copy_(users.items.sort().values)
        return super().act(users, inputs, k)


@planted("arguments are left alone")
class ClearsScoresOfItsInputs(Mmr):
    def act(self, users: UserBatch, inputs: Lists, k: int) -> Candidates:
        answer = super().act(users, inputs, k)
        inputs[0].scores.zero_()
        return answer


@planted("agents are independent")
class KeepsWhatItLearntInTheClass(Popularity):
    learnt: ClassVar[dict[str, Tensor]] = {}

    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.learnt["popularity"] = self.popularity

    def score(self, users: UserBatch) -> Tensor:
        return self.learnt["popularity"].repeat(len(users), 1)


@planted("files act the same")
class SavesOtherWeightsThanItActsWith(BprMF):
    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "items": super().state()["items"].flip(0)}


@planted("files act the same")
class SavesWeightsOfAnEarlierEpoch(Plain):
    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.early = {name: weight * 0.5 for name, weight in super().state().items()}

    def state(self) -> dict[str, Tensor]:
        return self.early


@planted("files act the same")
class ForgetsTheBiasWhenLoading(BprMF):
    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        emptied = {**state, "bias": torch.ones(n_items) * torch.arange(n_items)}
        super().load(emptied, n_users=n_users, n_items=n_items)


@planted("files act the same")
class ActsByWhatIsInNoFile(Popularity):
    extra: Tensor | None = None

    def fit(self, data: TrainingData, budget: Budget) -> None:
        super().fit(data, budget)
        self.extra = torch.arange(self.n_items) % 7.0

    def score(self, users: UserBatch) -> Tensor:
        scores = super().score(users)
        return scores if self.extra is None else scores + self.extra


class Carrier(Tensor):
    """A tensor that can carry more than numbers."""


@planted("files act the same")
class WeightsThatCarryObjects(Popularity):
    def state(self) -> dict[str, Any]:
        return {"popularity": self.popularity.as_subclass(Carrier)}


# -- resources


@planted("weights are as estimated")
class ClaimsToHoldNothing(BprMF):
    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        return 0


@planted("weights are as estimated")
class ForgetsTheUsersInItsEstimate(BprMF):
    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        return super().static_check(config, 0, n_items) // LONGEST
