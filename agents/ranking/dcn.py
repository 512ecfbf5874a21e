"""DCN-V2: a ranker that crosses user, history and item features (Wang et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.ranking.candidate_sampling import CandidateSampler
from agenticrs.agents.ranking.cross_network import CrossNetwork, Entity, Question
from agenticrs.agents.retrieval.common import RETRIEVAL_REWARD, item_counts, within_limit
from agenticrs.agents.training_data import EntityShape, FeatureTensors, TrainingData
from agenticrs.agents.training_loop import TrainingLoop
from agenticrs.registry.spec import (
    AgentSpec,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    IntRange,
    Port,
)

_CHUNK = 256
_UNKNOWN_SHARE = 0.1
"""Share of training lists in which the user is unknown, so that unknown users are learnt too."""


class DcnConfig(AgentConfig):
    """Size and training of the network, and how much the incoming order counts."""

    embedding_size: int = Field(default=32, ge=1)
    """Length of user and item vectors."""
    crosses: int = Field(default=2, ge=1)
    """Cross layers; n of them express products of up to n + 1 features."""
    deep: int = Field(default=64, ge=1)
    """Width of the two layers of the deep part."""
    history: int = Field(default=20, ge=1)
    """How many of the newest items describe the user."""
    upstream_weight: float = Field(default=2.0, ge=0)
    """Weight of -log(incoming rank) beside the network's logit; a large one keeps the order."""
    neighbour_share: float = Field(default=0.4, ge=0, le=1)
    """Share of negatives that are neighbours of the history: what retrievers would offer."""
    popular_share: float = Field(default=0.2, ge=0, le=1)
    """Share of negatives drawn by popularity."""
    exposed_share: float = Field(default=0.1, ge=0, le=1)
    """Share of negatives that were shown and not taken, for users that have such rows."""
    negatives: int = Field(default=20, ge=1)
    """Negatives beside each positive."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Step size of Adam."""
    l2: float = Field(default=1e-5, ge=0)
    """Weight decay."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the positives."""
    positives_per_epoch: int = Field(default=100_000, ge=1)
    """Long logs are sampled down to this many positives in each epoch."""
    batch_size: int = Field(default=256, ge=1)
    """Positives in one step."""

    @model_validator(mode="after")
    def _check(self) -> DcnConfig:
        shares = self.neighbour_share + self.popular_share + self.exposed_share
        if shares > 1 + 1e-9:
            raise ValueError(f"the shares of negatives must not exceed 1 together, got {shares}")
        return self


class DcnV2(Agent[DcnConfig]):
    """Orders candidates by logit - upstream_weight * log(rank).

    Trained listwise: softmax over a positive and negatives that look like candidates. The history
    of a positive is what came before it, never the item itself or later ones.
    """

    config_type = DcnConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="dcn",
        kind="model",
        role="ranking",
        summary="Ranks candidates by crosses of user, history and item features.",
        paper="Wang et al. 2021, DCN V2",
        loop=ClosedLoop(
            inputs=(Port.USERS, Port.CANDIDATES),
            output=Port.CANDIDATES,
            executor="the runtime hands the ordered list to the next agent, or shows it",
            feedback="click",
        ),
        inner_reward=RETRIEVAL_REWARD,
        space=DecisionSpace(
            parameters=(
                FloatRange(name="upstream_weight", low=0.0, high=10.0),
                FloatRange(name="neighbour_share", low=0.0, high=0.5),
                FloatRange(name="popular_share", low=0.0, high=0.3),
                FloatRange(name="exposed_share", low=0.0, high=0.2),
                IntRange(name="embedding_size", low=8, high=64, log=True),
                IntRange(name="crosses", low=1, high=4),
                FloatRange(name="learning_rate", low=2e-4, high=2e-2, log=True),
                FloatRange(name="l2", low=1e-7, high=1e-2, log=True),
                IntRange(name="epochs", low=1, high=20, log=True),
            )
        ),
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Train with Adam on positives and sampled negatives."""
        super().fit(data, budget)
        config = self.config
        generator = torch.Generator(self.device).manual_seed(self.seed)
        self.network = self._build(data)
        self.network.initialise(generator)
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.l2
        )
        sampler = CandidateSampler(
            data,
            neighbours=config.neighbour_share,
            popular=config.popular_share,
            exposed=config.exposed_share,
            generator=generator,
        )
        rows, n = data.histories.rows, len(data.histories.items)
        loop = TrainingLoop(budget, config.epochs)
        self.network.requires_grad_()
        for _ in loop:
            taken = 0
            for batch in loop.batches(n, config.batch_size, generator):
                if taken >= config.positives_per_epoch:
                    break
                taken += len(batch)
                question = self._question(data.histories, rows[batch], batch, sampler, generator)
                logits = self.network(question, self.network.tables())
                target = torch.zeros(len(batch), dtype=torch.int64, device=self.device)
                loop.step(functional.cross_entropy(logits, target), optimizer)
        self._freeze()

    def _freeze(self) -> None:
        self.network.requires_grad_(False)
        self.tables = self.network.tables()

    def _question(
        self,
        histories: UserBatch,
        rows: Tensor,
        entry: Tensor,
        sampler: CandidateSampler,
        generator: torch.Generator,
    ) -> Question:
        """Lists whose first item is the positive at ``entry`` of the histories."""
        begin = histories.offsets[:-1][rows]
        place = entry[:, None] - self.config.history
        place = place + torch.arange(self.config.history, device=entry.device)
        past = torch.where(place >= begin[:, None], histories.items[place.clamp(min=0)], -1)
        negatives = sampler.draw(rows, past, self.config.negatives)
        unknown = torch.rand(len(rows), generator=generator, device=rows.device) < _UNKNOWN_SHARE
        return Question(
            user=torch.where(unknown, self.n_users, rows),
            history=past,
            length=entry - begin,
            items=torch.cat([histories.items[entry][:, None], negatives], 1),
        )

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The candidates in their new order, k at most."""
        (source,) = inputs
        catalogue = max(self.n_items, int(source.items.max()) + 1 if source.items.numel() else 0)
        source = lists.compact(source, lists.allowed(source.items, users, catalogue))
        scores = self._scores(users.within(self.n_users, self.n_items), source.items)
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        return Candidates(source.items.gather(1, best.indices), best.values)

    def _scores(self, users: UserBatch, items: Tensor) -> Tensor:
        """Final scores of compacted lists ``items`` (B, K), -inf at pads."""
        known = torch.where((items >= 0) & (items < self.n_items), items, self.n_items)
        recent = users.recent(self.config.history)
        user = torch.where(users.users >= 0, users.users, self.n_users)
        parts = [items.new_zeros(0, items.shape[1], dtype=torch.float32)]
        for start in range(0, len(items), _CHUNK):
            some = slice(start, start + _CHUNK)
            question = Question(user[some], recent[some], users.lengths[some], known[some])
            parts.append(self.network(question, self.tables))
        rank = torch.arange(1, items.shape[1] + 1, device=items.device)
        scores = torch.cat(parts) - self.config.upstream_weight * rank.log()
        return scores.masked_fill(items < 0, -torch.inf)

    def _build(self, data: TrainingData) -> CrossNetwork:
        counts = item_counts(data.histories, self.n_items)
        return self._network(
            (EntityShape.of(data.user_features), data.user_features),
            (EntityShape.of(data.item_features), data.item_features),
            torch.cat([torch.log1p(counts), counts.new_zeros(1)]),
        )

    def _network(
        self,
        users: tuple[EntityShape, FeatureTensors | None],
        items: tuple[EntityShape, FeatureTensors | None],
        popularity: Tensor,
    ) -> CrossNetwork:
        config, size = self.config, self.config.embedding_size
        network = CrossNetwork(
            Entity(self.n_users, users[1], users[0], size),
            Entity(self.n_items, items[1], items[0], size),
            popularity,
            size=size,
            crosses=config.crosses,
            deep=config.deep,
        )
        return network.to(self.device)

    def state(self) -> dict[str, Tensor]:
        """The network's weights, with the feature tables."""
        return {name: weight.cpu() for name, weight in self.network.state_dict().items()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the weights."""
        super().load(state, n_users=n_users, n_items=n_items)
        users, items = _shape_of(state, "users"), _shape_of(state, "items")
        self.network = self._network((users, None), (items, None), state["popularity"])
        self.network.load_state_dict(dict(state))
        self._freeze()

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """Vectors of users and items, and the layers; feature tables come on top."""
        own = cast(DcnConfig, config)
        width = 4 * own.embedding_size + 5
        layers = own.crosses * width * (width + 1) + own.deep * (width + own.deep + 3) + width + 1
        return within_limit("dcn", (n_users + n_items + 2) * own.embedding_size + n_items + layers)


def _shape_of(state: Mapping[str, Tensor], name: str) -> EntityShape:
    """The shape that stored weights have. How categories fall to features lies in the codes."""
    n_features = state[f"{name}.codes"].shape[1]
    categories = state[f"{name}.categories"].shape[0]
    cardinality = (categories, *(0,) * (n_features - 1)) if n_features else ()
    return EntityShape(cardinality, state[f"{name}.dense"].shape[0])
