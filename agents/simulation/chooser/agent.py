"""A simulated user that is trained by reinforcement: chooses the next item among those offered.

After VRAgent-R1 (arXiv 2507.02626), with a small network in the place of a language model: first a
reference is taught by what real users took (cross-entropy over offers), then the policy is trained
from it by group-relative policy optimisation, whose reward is whether the drawn choice is the real
one, and held near the frozen reference.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents import lists
from agenticrs.agents.agent import Agent, AgentConfig, Budget
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.retrieval.common import within_limit
from agenticrs.agents.simulation.chooser import group_policy
from agenticrs.agents.simulation.chooser.network import ChoiceNetwork
from agenticrs.agents.simulation.chooser.offers import CHOICE, Offers
from agenticrs.agents.simulation.items import item_factors
from agenticrs.agents.training_data import TrainingData
from agenticrs.agents.training_loop import Trained, TrainingLoop
from agenticrs.registry.spec import (
    AgentSpec,
    Choice,
    ClosedLoop,
    DecisionSpace,
    FloatRange,
    InnerReward,
    IntRange,
    Port,
)

_OFFERED_AT_ONCE = 100_000
"""Items of offers in memory at a time, each with a few hundred numbers."""


class SimulatedUserConfig(AgentConfig):
    """Size of the network, and both trainings."""

    embedding_size: int = Field(default=32, ge=2)
    """Length of the items' vectors."""
    hidden: int = Field(default=64, ge=1)
    """Width of the layer between products and logits."""
    history: int = Field(default=20, ge=1)
    """How many of the newest items describe a user."""
    offered: int = Field(default=10, ge=2)
    """Items of an offer in training."""
    reference_epochs: int = Field(default=4, ge=0)
    """Passes over all choices that teach the reference; with 0 it goes by likeness alone."""
    reference_rate: float = Field(default=2e-3, gt=0)
    """Step size of Adam for the reference."""
    epochs: int = Field(default=3, ge=0)
    """Passes over all choices by policy optimisation; 0 leaves the reference as it is."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """Step size of Adam for the policy."""
    group: int = Field(default=16, ge=2)
    """Answers that are drawn to each question."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """How far an answer's chance may move before it pulls no further."""
    kl_weight: float = Field(default=1e-3, ge=0)
    """Weight of the divergence from the reference."""
    temperature: float = Field(default=1.0, gt=0)
    """Above 1, answers are drawn more evenly than the policy would choose."""
    updates: int = Field(default=2, ge=1)
    """Steps on the same drawn answers."""
    decay: float = Field(default=0.01, ge=0)
    """Weight decay of both trainings."""
    batch_size: int = Field(default=512, ge=1)
    """Choices in one step."""


@dataclass(frozen=True)
class _Question:
    """Choices that users made: newest items before (B, history), offers (B, N), the right place."""

    past: Tensor
    offered: Tensor
    right: Tensor


class SimulatedUser(Agent[SimulatedUserConfig]):
    """Orders what is offered by how likely this user takes it next; scores are log chances."""

    config_type = SimulatedUserConfig
    spec: ClassVar[AgentSpec] = AgentSpec(
        name="simulated_user",
        kind="model",
        role="simulation",
        summary="Says which of the offered items a user would take next; trained by rewards.",
        paper="VRAgent-R1, arXiv 2507.02626; GRPO: Shao et al. 2024, arXiv 2402.03300",
        loop=ClosedLoop(
            inputs=(Port.USERS, Port.CANDIDATES),
            output=Port.CANDIDATES,
            executor="a simulation takes the first item as the user's choice",
            feedback="click",
        ),
        inner_reward=InnerReward(metric=CHOICE, k=10),
        space=DecisionSpace(
            parameters=(
                IntRange(name="group", low=4, high=32, log=True),
                FloatRange(name="clip", low=0.05, high=0.5, log=True),
                FloatRange(name="kl_weight", low=1e-4, high=1.0, log=True),
                FloatRange(name="learning_rate", low=3e-5, high=3e-3, log=True),
                IntRange(name="epochs", low=1, high=20, log=True),
                IntRange(name="reference_epochs", low=1, high=20, log=True),
                FloatRange(name="temperature", low=0.5, high=2.0, log=True),
                Choice(name="embedding_size", values=(16, 32, 64, 128)),
                Choice(name="hidden", values=(32, 64, 128)),
                IntRange(name="history", low=5, high=50, log=True),
            )
        ),
        outer_weight=0.0,
        outer_weight_reason="It serves nobody: what it is worth is how like real users it chooses.",
        on_request=True,
    )
    network: ChoiceNetwork

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Teach the reference, then train the policy from it."""
        super().fit(data, budget)
        config = self.config
        generator = torch.Generator(self.device).manual_seed(self.seed)
        offers = Offers.of(data.histories, self.n_items)
        policy = self._network()
        factors = item_factors(
            data.histories.rows,
            data.histories.items,
            self.n_users,
            self.n_items,
            config.embedding_size,
        )
        policy.initialise(factors, offers.counts, generator)
        reference = copy.deepcopy(policy).requires_grad_(False)
        optimizer = torch.optim.AdamW(policy.parameters(), weight_decay=config.decay)
        weights = {
            **{f"policy.{name}": weight for name, weight in policy.named_parameters()},
            **{f"reference.{name}": weight for name, weight in reference.named_parameters()},
        }
        loop = TrainingLoop(
            budget,
            config.reference_epochs + config.epochs,
            Trained(weights, optimizer, generator),
        )
        taught = self._taught_epochs(loop.total)
        for epoch in loop:
            if epoch == taught:
                reference.load_state_dict(policy.state_dict())
                optimizer.state.clear()
            teaching = epoch < taught
            for group in optimizer.param_groups:
                group["lr"] = config.reference_rate if teaching else config.learning_rate
            for question in self._questions(data.histories, offers, epoch, generator):
                if teaching:
                    logits = policy(question.past, question.offered)
                    loop.step(functional.cross_entropy(logits, question.right), optimizer)
                else:
                    self._improve(policy, reference, question, loop, optimizer, generator)
        self.network = policy.requires_grad_(False)

    def _taught_epochs(self, total: int) -> int:
        """How many of so many epochs teach the reference: one at least, where it is taught."""
        config = self.config
        share = config.reference_epochs / max(1, config.reference_epochs + config.epochs)
        return max(min(1, config.reference_epochs), round(total * share))

    def _improve(
        self,
        policy: ChoiceNetwork,
        reference: ChoiceNetwork,
        question: _Question,
        loop: TrainingLoop,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> None:
        """Draw a group of answers to each question, and step towards those that earned more."""
        config = self.config

        def chances(network: ChoiceNetwork) -> Tensor:
            logits: Tensor = network(question.past, question.offered)
            return (logits / config.temperature).log_softmax(1)

        with torch.no_grad():
            before, held = chances(policy), chances(reference)
            chosen = group_policy.draw(before.exp(), config.group, generator)
            advantage = group_policy.advantages(group_policy.rewards(chosen, question.right))
        for _ in range(config.updates):
            now = chances(policy)
            gain = group_policy.objective(
                now.gather(1, chosen), before.gather(1, chosen), advantage, config.clip
            )
            apart = group_policy.divergence(now, held).mean()
            loop.step(config.kl_weight * apart - gain, optimizer)

    def _questions(
        self, histories: UserBatch, offers: Offers, epoch: int, generator: torch.Generator
    ) -> Iterator[_Question]:
        """All choices in random order that have something before them, a batch at a time."""
        config, rows = self.config, histories.rows
        begin = histories.offsets[:-1][rows]
        entries = torch.arange(len(rows), device=rows.device)
        later = (entries > begin).nonzero()[:, 0]
        for some in TrainingLoop.batches(len(later), config.batch_size, generator):
            entry = later[some]
            place = entry[:, None] - config.history
            place = place + torch.arange(config.history, device=entry.device)
            inside = place >= begin[entry][:, None]
            past = torch.where(inside, histories.items[place.clamp(min=0)], -1)
            taken = histories.items[entry]
            offered = offers.make(rows[entry], taken, config.offered, self._turn(epoch))
            right = (offered == taken[:, None]).to(torch.int8).argmax(1)
            yield _Question(past, offered, right)

    def _turn(self, epoch: int) -> int:
        """Offers that no other epoch or seed makes, and no measurement."""
        return 1_000_000 * (self.seed + 1) + epoch

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """What is offered, the most likely choice first, k at most."""
        (source,) = inputs
        catalogue = max(self.n_items, int(source.items.max()) + 1 if source.items.numel() else 0)
        source = lists.compact(source, lists.allowed(source.items, users, catalogue))
        past = users.within(self.n_users, self.n_items).recent(self.config.history)
        # An item that is newer than the network is one of which nothing is known.
        known = torch.where(source.items < self.n_items, source.items, -1)
        parts = [torch.zeros(0, source.items.shape[1], device=source.items.device)]
        at_once = max(1, _OFFERED_AT_ONCE // max(1, source.items.shape[1]))
        for start in range(0, len(users), at_once):
            some = slice(start, start + at_once)
            parts.append(self.network(past[some], known[some]))
        logits = torch.cat(parts)
        logits = torch.where(known < 0, 0.0, logits).masked_fill(source.items < 0, -torch.inf)
        best = logits.topk(min(k, logits.shape[1]), dim=1)
        whole = logits.logsumexp(1, keepdim=True)
        chance = (best.values - whole).masked_fill(best.values == -torch.inf, -torch.inf)
        return Candidates(source.items.gather(1, best.indices), chance)

    def state(self) -> dict[str, Tensor]:
        """Weights, and the items' popularity."""
        return {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}

    def load(self, state: Mapping[str, Tensor], *, n_users: int, n_items: int) -> None:
        """Take over the weights."""
        super().load(state, n_users=n_users, n_items=n_items)
        network = self._network()
        network.load_state_dict(dict(state))
        self.network = network.requires_grad_(False)

    def _network(self) -> ChoiceNetwork:
        config = self.config
        network = ChoiceNetwork(self.n_items, config.embedding_size, config.hidden, config.history)
        return network.to(self.device)

    @classmethod
    def static_check(cls, config: AgentConfig, n_users: int, n_items: int) -> int:
        """Vectors, biases and counts of items, and the layers."""
        own = cast(SimulatedUserConfig, config)
        size = own.embedding_size
        layers = size * size + own.hidden * (3 * size + 1) + own.history + 2
        return within_limit(cls.spec.name, n_items * (size + 2) + layers)
