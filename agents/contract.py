"""What every agent promises, as tests: subclass ``AgentContract`` in a test module.

    class TestMyRetriever(AgentContract):
        agent_type = MyRetriever
        config = {"epochs": 2}

It needs pytest only to be run, not to be imported. It trains on a small log made here, with two
tastes, feedback of both kinds, tags, and items that nobody has seen.
"""

# ruff: noqa: S101 (these are tests, in the package so that authors of plug-ins can import them)

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor

from agenticrs.agents.agent import Agent, AgentConfig, Budget, OutcomeLearner
from agenticrs.agents.batch import Candidates, Route, UserBatch
from agenticrs.agents.lesson import Lesson
from agenticrs.agents.training_data import Heldout, TrainingData
from agenticrs.platform.data.dataset import Dataset, Features, Interactions, Positive
from agenticrs.registry.spec import AgentSpec, Choice, PerInput, Port

N_USERS, N_ITEMS, N_INPUT = 40, 30, 12
K = 8


class AgentContract:
    """Every agent's promises. Set ``agent_type``; ``config`` makes training short."""

    agent_type: ClassVar[type[Agent[Any]]]
    config: ClassVar[Mapping[str, Any]] = {}
    n_inputs: ClassVar[int | None] = None
    """Lists handed to ``act``; None = as the spec says, two for an agent that takes any number."""

    def make(self, seed: int = 0) -> Agent[Any]:
        """A new agent with the contract's config, not fitted."""
        agent = self.agent_type(self.agent_type.config_type.model_validate(self.config), seed=seed)
        agent.input_names(self.names())
        return agent

    def fitted(self, seed: int = 0) -> Agent[Any]:
        """An agent that has learnt the small log."""
        agent = self.make(seed)
        agent.fit(small_log(), Budget())
        self.taught(agent)
        return agent

    def taught(self, agent: Agent[Any]) -> None:
        """Let an agent that learns from outcomes learn: every user took the first list's third."""
        if not isinstance(agent, OutcomeLearner):
            return
        users = small_log().histories
        count = len(agent.spec.segments) or len(self.names())
        given = [some_candidates(users, N_ITEMS, seed=place, gaps=False) for place in range(count)]
        everybody = torch.arange(len(users) + 1)
        taken = Heldout(users.users, everybody, given[0].items[:, 2], torch.ones(len(users)))
        agent.learn(Lesson(users, tuple(given), taken))

    def names(self) -> list[str]:
        """Names of the agents whose lists are handed over."""
        loop = self.agent_type.spec.loop
        wanted = sum(port is Port.CANDIDATES for port in loop.inputs)
        count = self.n_inputs if self.n_inputs is not None else wanted + loop.variadic
        return ["first", "second", "third", "fourth"][:count]

    def inputs(self, users: UserBatch, n_items: int = N_ITEMS) -> list[Candidates]:
        """Lists as retrievers would hand them over: unseen items, the last list with gaps."""
        return [
            some_candidates(users, n_items, seed=place, gaps=place == len(self.names()) - 1)
            for place in range(len(self.names()))
        ]

    def decide(self, agent: Agent[Any], users: UserBatch, k: int = K) -> Candidates | Route:
        """Act with inputs for these users."""
        return agent.act(users, self.inputs(users), k)

    # -- declaration

    def test_the_spec_describes_the_class(self) -> None:
        """Defaults lie in the decision space, and its parameters are fields of the config."""
        spec = self.agent_type.spec
        assert isinstance(spec, AgentSpec)
        assert spec.summary, "say in the spec what the agent does"
        fields = self.agent_type.config_type.model_fields
        default = self.agent_type.config_type().model_dump()
        for parameter in spec.space.parameters:
            assert parameter.name in fields, f"{parameter.name} is no field of the config"
            if isinstance(parameter, Choice):
                assert default[parameter.name] in parameter.values
            elif not isinstance(parameter, PerInput):
                assert parameter.low <= default[parameter.name] <= parameter.high, parameter.name

    def test_the_config_is_frozen_and_refuses_unknown_fields(self) -> None:
        """A config cannot change under a version, and a misspelt field is an error."""
        config = self.agent_type.config_type()
        assert isinstance(config, AgentConfig)
        for name in type(config).model_fields:
            assert _refused(lambda name=name: setattr(config, name, getattr(config, name)))
        assert _refused(lambda: type(config).model_validate({"no_such_field": 1}))

    def test_the_static_check_estimates_the_weights(self) -> None:
        """It answers before anything is allocated; an estimate below the weights would mislead."""
        agent = self.fitted()
        estimate = self.agent_type.static_check(agent.config, N_USERS, N_ITEMS)
        held = sum(tensor.numel() for tensor in agent.state().values())
        assert estimate >= 0
        assert 2 * estimate >= held, f"estimated {estimate} weights, it holds {held}"

    # -- what comes out

    def test_it_puts_out_what_it_declares(self) -> None:
        """A route in range, or lists of at most k in descending order with pads last."""
        users = small_log().histories
        answer = self.decide(self.fitted(), users)
        if isinstance(answer, Route):
            assert self.agent_type.spec.loop.output is Port.ROUTE
            assert answer.segment.shape == (N_USERS,)
            assert answer.segment.dtype == torch.int64
            assert int(answer.segment.min()) >= 0
            assert int(answer.segment.max()) < len(self.agent_type.spec.segments)
            return
        assert self.agent_type.spec.loop.output is Port.CANDIDATES
        assert answer.items.shape == answer.scores.shape
        assert answer.items.shape[0] == N_USERS
        assert 1 <= answer.items.shape[1] <= K
        assert answer.items.dtype == torch.int64
        assert answer.scores.dtype.is_floating_point
        shown = answer.items >= 0
        assert torch.isfinite(answer.scores[shown]).all()
        assert (answer.scores[~shown] == -torch.inf).all(), "the score of a pad is -inf"
        assert (answer.scores[:, :-1] >= answer.scores[:, 1:]).all(), "best first"

    def test_lists_hold_known_unseen_items_once(self) -> None:
        """Nothing seen, nothing twice, nothing from outside the catalogue or the inputs."""
        users = small_log().histories
        answer = self.decide(self.fitted(), users)
        if isinstance(answer, Route):
            return
        inputs = self.inputs(users)
        for row, items in enumerate(answer.items.tolist()):
            shown = [item for item in items if item >= 0]
            assert len(shown) == len(set(shown)), "an item stands twice in a list"
            assert all(item < N_ITEMS for item in shown)
            seen = users.items[users.offsets[row] : users.offsets[row + 1]].tolist()
            assert not set(shown) & set(seen), "an item of the user's history is recommended"
            if inputs:
                offered = {item for source in inputs for item in source.items[row].tolist()}
                assert set(shown) <= offered, "an item that no input offered"

    def test_new_users_and_empty_histories_get_an_answer(self) -> None:
        """A user without an index or without a history is served like others."""
        items = torch.tensor([3, 4])
        users = UserBatch(torch.tensor([-1, -1, 2]), torch.tensor([0, 2, 2, 2]), items)
        answer = self.decide(self.fitted(), users)
        if isinstance(answer, Candidates):
            assert (answer.items >= 0).any(dim=1).all(), "somebody got an empty list"
            assert not torch.isnan(answer.scores).any()

    def test_newer_users_and_items_than_it_was_trained_with_are_no_error(self) -> None:
        """Indices grow between two trainings; what came later must not break what is older."""
        items = torch.tensor([3, N_ITEMS + 4, 5, N_ITEMS])
        users = UserBatch(torch.tensor([N_USERS + 7, 1]), torch.tensor([0, 2, 4]), items)
        answer = self.fitted().act(users, self.inputs(users, N_ITEMS + 10), K)
        if isinstance(answer, Candidates):
            assert not torch.isnan(answer.scores).any()
            for row, (start, stop) in enumerate(((0, 2), (2, 4))):
                assert not torch.isin(answer.items[row], items[start:stop]).any()

    def test_nobody_and_more_than_there_is(self) -> None:
        """An empty batch gives an empty answer; a large k gives what there is."""
        agent = self.fitted()
        nobody = small_log().histories.take(torch.zeros(0, dtype=torch.int64))
        answer = self.decide(agent, nobody)
        assert len(answer.segment if isinstance(answer, Route) else answer.items) == 0
        few = small_log().histories.take(torch.arange(3))
        many = self.decide(agent, few, k=1000)
        if isinstance(many, Candidates):
            assert many.items.shape[1] <= 1000
            assert not torch.isnan(many.scores).any()

    def test_users_of_a_batch_do_not_influence_each_other(self) -> None:
        """One user alone gets the scores that the same user gets among others."""
        agent, users = self.fitted(), small_log().histories
        together = self.decide(agent, users)
        inputs = self.inputs(users)
        for row in (0, 7, N_USERS - 1):
            at = torch.tensor([row])
            own = [Candidates(source.items[at], source.scores[at]) for source in inputs]
            alone = agent.act(users.take(at), own, K)
            a, b = _numbers(alone), _numbers(together)[at]
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)

    def test_arguments_are_left_alone(self) -> None:
        """Histories and inputs are shared with other agents and threads."""
        agent, users = self.fitted(), small_log().histories
        inputs = self.inputs(users)
        before = [t.clone() for t in _tensors(users, inputs)]
        agent.act(users, inputs, K)
        for old, new in zip(before, _tensors(users, inputs), strict=True):
            assert torch.equal(old, new)

    # -- repeatability

    def test_the_same_seed_gives_the_same_agent(self) -> None:
        """On the CPU, whatever the global random state is."""
        first = self.fitted(seed=3)
        torch.manual_seed(12345)
        second = self.fitted(seed=3)
        for name, tensor in first.state().items():
            assert torch.equal(tensor, second.state()[name]), name
        users = small_log().histories
        assert _same(self.decide(first, users), self.decide(second, users))

    def test_an_agent_out_of_its_files_acts_the_same(self) -> None:
        """Weights survive safetensors, and nothing outside them is needed."""
        agent = self.fitted()
        state = load(save({name: t.contiguous() for name, t in agent.state().items()}))
        copy = self.make(seed=99)
        copy.load(state, n_users=agent.n_users, n_items=agent.n_items)
        users = small_log().histories
        expected, answer = self.decide(agent, users), self.decide(copy, users)
        # The layout in memory may differ, and with it the last bits of a sum.
        torch.testing.assert_close(_numbers(answer), _numbers(expected), atol=1e-6, rtol=1e-5)
        if isinstance(answer, Candidates) and isinstance(expected, Candidates):
            assert (answer.items == expected.items).float().mean() > 0.95

    def test_threads_do_not_disturb_each_other(self) -> None:
        """``act`` keeps nothing between or during calls."""
        agent, users = self.fitted(), small_log().histories
        halves = [users.take(torch.arange(0, 20)), users.take(torch.arange(20, 40))] * 8
        with torch.inference_mode():
            expected = [self.decide(agent, half) for half in halves]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda half: self.decide(agent, half), halves))
        assert all(_same(a, b) for a, b in zip(answers, expected, strict=True))


@cache
def small_log() -> TrainingData:
    """40 users, 30 items of which the last four are new, two tastes, tags that tell them apart."""
    rng = np.random.default_rng(7)
    users, items, times, clicks = [], [], [], []
    for user in range(N_USERS):
        own, other = (0, 13) if user % 2 else (13, 0)
        liked = own + rng.permutation(13)[: rng.integers(3, 9)]
        shown = other + rng.permutation(13)[:3]
        row = rng.permutation(np.concatenate([liked, shown]))
        users += [user] * len(row)
        items += row.tolist()
        times += [1_600_000_000 + 60 * place for place in range(len(row))]
        clicks += np.isin(row, liked).astype(float).tolist()
    tags = np.zeros((N_ITEMS, 4), np.float32)
    tags[np.arange(N_ITEMS), np.arange(N_ITEMS) // 13] = 1
    tags[np.arange(N_ITEMS), 2 + np.arange(N_ITEMS) % 2] = 1
    dataset = Dataset(
        name="small",
        fingerprint="small",
        interactions=Interactions(
            user=np.array(users, np.int32),
            item=np.array(items, np.int32),
            timestamp=np.array(times, np.int64),
            behaviours={"click": np.array(clicks, np.float32)},
        ),
        user_ids=np.arange(N_USERS).astype(np.str_),
        item_ids=np.arange(N_ITEMS).astype(np.str_),
        item_titles=np.arange(N_ITEMS).astype(np.str_),
        user_features=Features(
            categorical={"age": (np.arange(N_USERS) % 3).astype(np.int32)}, cardinality={"age": 3}
        ),
        item_features=Features(
            multi_hot={"topic": tags},
            numeric={"length": rng.random(N_ITEMS).astype(np.float32)},
        ),
        positive=Positive("click", 1.0),
    )
    return TrainingData.of(dataset)


def some_candidates(users: UserBatch, n_items: int, *, seed: int, gaps: bool = False) -> Candidates:
    """Unseen items for each user with falling scores, (B, 12); the same for the same user."""
    score = torch.rand(n_items, generator=torch.Generator().manual_seed(seed)).repeat(len(users), 1)
    score = score + 0.3 * torch.sin(users.users[:, None] + torch.arange(n_items) * (seed + 1.0))
    score[users.rows, users.items] = -torch.inf
    best = score.topk(N_INPUT, dim=1)
    items, scores = best.indices, best.values
    if gaps:
        items, scores = items.clone(), scores.clone()
        items[:, N_INPUT - 3 :], scores[:, N_INPUT - 3 :] = -1, -torch.inf
    return Candidates(items, scores)


def _refused(attempt: Any) -> bool:
    try:
        attempt()
    except ValidationError:
        return True
    return False


def _numbers(answer: Candidates | Route) -> Tensor:
    if isinstance(answer, Route):
        return answer.segment
    return answer.scores.nan_to_num(neginf=-1e9)


def _tensors(users: UserBatch, inputs: list[Candidates]) -> list[Tensor]:
    lists = [tensor for source in inputs for tensor in (source.items, source.scores)]
    return [users.users, users.offsets, users.items, *lists]


def _same(a: Candidates | Route, b: Candidates | Route) -> bool:
    if isinstance(a, Route) or isinstance(b, Route):
        return isinstance(a, Route) and isinstance(b, Route) and torch.equal(a.segment, b.segment)
    return torch.equal(a.items, b.items) and torch.equal(a.scores, b.scores)
