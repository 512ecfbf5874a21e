"""The index finds nearly all that exact search finds, and only where whoever serves asks for it."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from agenticrs.agents import vector_index
from agenticrs.agents.agent import Agent
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.retrieval.bpr import BprConfig, BprMF
from agenticrs.agents.retrieval.ials import Ials, IalsConfig
from agenticrs.agents.vector_index import ApproximateSearch, VectorIndex
from agenticrs.agents.vector_search import search

N_ITEMS, SIZE, K = 6000, 16, 50

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None, reason="the extra ann is not installed"
)


def clustered(seed: int = 0) -> Tensor:
    """Items around 60 centres, of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(60, SIZE, generator=generator)
    cluster = torch.randint(60, (N_ITEMS,), generator=generator)
    around = centres[cluster] + 0.4 * torch.randn(N_ITEMS, SIZE, generator=generator)
    return around * torch.exp(0.2 * torch.randn(N_ITEMS, 1, generator=generator))


def tastes(table: Tensor, count: int, seed: int = 1) -> Tensor:
    """Queries near the mean of two items."""
    generator = torch.Generator().manual_seed(seed)
    liked = torch.randint(len(table), (count, 2), generator=generator)
    return table[liked].mean(1)


def people(histories: Tensor) -> UserBatch:
    """Users with histories (B, n) of equal length."""
    batch, length = histories.shape
    return UserBatch(torch.arange(batch), torch.arange(batch + 1) * length, histories.flatten())


def with_history(queries: Tensor, table: Tensor, length: int = 5) -> UserBatch:
    """Users who had the items that they would be shown first."""
    return people((queries @ table.T).topk(length).indices)


def recall(found: Candidates, wanted: Candidates) -> float:
    pairs = zip(found.items, wanted.items, strict=True)
    return float(torch.stack([torch.isin(a, b).float().mean() for a, b in pairs]).mean())


def asked(approximate: ApproximateSearch, table: Tensor, times: int = 100) -> VectorIndex | None:
    """Ask for one user at a time, as often as it takes; then the index, if it is used."""
    queries = tastes(table, times, seed=7)
    for query in queries:
        approximate(query[None], table, K, with_history(query[None], table))
    return approximate.settled()


@pytest.fixture(scope="module")
def table() -> Tensor:
    return clustered()


@pytest.fixture(scope="module")
def index(table: Tensor) -> VectorIndex:
    return VectorIndex(table)


@pytest.fixture
def exact_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many users each exact search is asked for."""
    calls: list[int] = []

    def counted(queries: Tensor, table: Tensor, k: int, users: UserBatch) -> Candidates:
        calls.append(len(queries))
        return search(queries, table, k, users)

    monkeypatch.setattr(vector_index, "search", counted)
    return calls


@needs_library
def test_nearly_all_of_the_exact_list_is_found_and_nothing_of_the_history(
    table: Tensor, index: VectorIndex
) -> None:
    queries = tastes(table, 40)
    users = with_history(queries, table, 8)
    found, wanted = index.search(queries, K, users), search(queries, table, K, users)
    assert recall(found, wanted) >= 0.9
    assert index.recall(queries, K) >= 0.9
    for row, items in enumerate(found.items):
        assert not torch.isin(items, users.items[row * 8 : row * 8 + 8]).any()
        assert len(items.unique()) == K
    torch.testing.assert_close(found.scores, (queries @ table.T).gather(1, found.items))
    assert (found.scores[:, :-1] >= found.scores[:, 1:]).all()


@needs_library
def test_lists_that_come_out_short_are_searched_for_exactly(
    table: Tensor, index: VectorIndex
) -> None:
    queries = tastes(table, 3)
    long = people(torch.stack([torch.arange(N_ITEMS - 20)] * 3))
    found = index.search(queries, K, long)
    wanted = search(queries, table, K, long)
    assert torch.equal(found.items, wanted.items)
    assert (found.items >= 0).sum(1).tolist() == [20, 20, 20]
    everything = index.search(queries, N_ITEMS + 5, with_history(queries, table))
    assert everything.items.shape == (3, N_ITEMS)
    assert (everything.items >= 0).sum(1).tolist() == [N_ITEMS - 5] * 3


@needs_library
def test_users_of_whom_nothing_is_known_are_answered_exactly(
    table: Tensor, index: VectorIndex, exact_calls: list[int]
) -> None:
    prior = torch.linspace(0, 1e-6, N_ITEMS)[torch.randperm(N_ITEMS)]
    wide = VectorIndex(torch.cat([table, prior[:, None]], 1))
    queries = torch.cat([tastes(table, 3), torch.ones(3, 1)], 1)
    queries[1, :-1] = 0
    history = torch.tensor([4, 9])
    users = UserBatch(torch.tensor([0, 1, -1]), torch.tensor([0, 1, 2, 2]), history)
    found = wide.search(queries, K, users)
    assert exact_calls == [2]
    wanted = search(queries, wide.table, K, users)
    assert torch.equal(found.items[1:], wanted.items[1:])
    nobody = index.search(queries[:0, :-1], K, users.take(torch.zeros(0, dtype=torch.int64)))
    assert nobody.items.shape == (0, K)


@needs_library
def test_requests_are_exact_until_the_index_is_there(table: Tensor, exact_calls: list[int]) -> None:
    approximate = ApproximateSearch(from_items=N_ITEMS)
    queries = tastes(table, 20)
    users = with_history(queries, table)
    wanted = search(queries, table, K, users)
    first = approximate(queries[:5], table, K, users.take(torch.arange(5)))
    assert torch.equal(first.items, wanted.items[:5])
    assert approximate.settled() is None
    chosen = asked(approximate, table)
    assert chosen is not None
    assert chosen.table is table
    assert chosen.probes < chosen.n_lists // 2
    exact_calls.clear()
    found = approximate(queries[:5], table, K, users.take(torch.arange(5)))
    assert exact_calls == []
    assert recall(found, Candidates(wanted.items[:5], wanted.scores[:5])) >= 0.9


@needs_library
def test_many_users_at_once_and_small_tables_are_searched_exactly(
    table: Tensor, exact_calls: list[int]
) -> None:
    approximate = ApproximateSearch(from_items=N_ITEMS)
    assert asked(approximate, table) is not None
    queries = tastes(table, 20)
    users = with_history(queries, table)
    exact_calls.clear()
    found = approximate(queries, table, K, users)
    assert exact_calls == [20]
    assert torch.equal(found.items, search(queries, table, K, users).items)
    assert asked(ApproximateSearch(from_items=N_ITEMS + 1), table) is None
    assert asked(ApproximateSearch(), table) is None


@needs_library
def test_another_table_gets_an_index_of_its_own(table: Tensor) -> None:
    approximate = ApproximateSearch(from_items=N_ITEMS)
    before = asked(approximate, table)
    other = clustered(seed=5)
    query = tastes(other, 1)
    users = with_history(query, other)
    found = approximate(query, other, K, users)
    assert torch.equal(found.items, search(query, other, K, users).items)
    after = asked(approximate, other)
    assert before is not None
    assert after is not None
    assert after.table is other


@needs_library
def test_an_index_that_finds_too_little_is_not_used() -> None:
    generator = torch.Generator().manual_seed(0)
    directionless = torch.randn(4000, 64, generator=generator)
    approximate = ApproximateSearch(from_items=1)
    queries = torch.randn(100, 64, generator=generator)
    for query in queries:
        approximate(query[None], directionless, K, people(torch.zeros(1, 1, dtype=torch.int64)))
    assert approximate.settled() is None


@needs_library
@pytest.mark.parametrize("least", [0.0, 1.1])
def test_what_an_index_finds_is_told_whether_it_is_used_or_not(
    table: Tensor, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    log = SimpleNamespace(info=lambda event, **facts: told.append({"event": event, **facts}))
    monkeypatch.setattr(vector_index, "_log", log)
    approximate = ApproximateSearch(from_items=1, least_recall=least)
    for query in tastes(table, 64):
        approximate(query[None], table, K, people(torch.zeros(1, 1, dtype=torch.int64)))
    chosen = approximate.settled()
    (fact,) = told
    assert fact["used"] == (chosen is not None) == (least == 0.0)
    assert fact["items"] == len(table)
    assert 0.5 < fact["recall"] <= 1.0


@needs_library
def test_threads_build_one_index_and_find_what_one_thread_finds(
    table: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []

    class Counted(VectorIndex):
        def __init__(self, table: Tensor) -> None:
            built.append(len(table))
            super().__init__(table)

    monkeypatch.setattr(vector_index, "VectorIndex", Counted)
    approximate = ApproximateSearch(from_items=N_ITEMS)
    queries = tastes(table, 200)
    users = with_history(queries, table)

    def ask(row: int) -> Tensor:
        with torch.inference_mode():  # as in serving
            at = torch.tensor([row])
            return approximate(queries[at], table, K, users.take(at)).items[0]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(200)))
        chosen = approximate.settled()
        together = torch.stack(list(threads.map(ask, range(200))))
    assert built == [N_ITEMS]
    assert chosen is not None
    assert torch.equal(together, torch.stack([ask(row) for row in range(200)]))
    wanted = search(queries, table, K, users)
    assert recall(Candidates(together, wanted.scores), wanted) >= 0.9


def test_without_the_library_everything_is_exact(
    table: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "find_spec", lambda name: None)
    assert not vector_index.installed()
    approximate = ApproximateSearch(from_items=1)
    assert asked(approximate, table) is None
    query = tastes(table, 1)
    users = with_history(query, table)
    found = approximate(query, table, K, users)
    assert torch.equal(found.items, search(query, table, K, users).items)


class TestRetrievers:
    """Agents over a table; the weights are given rather than learnt."""

    n_users: ClassVar[int] = 300

    def agent(self, table: Tensor) -> BprMF:
        agent = BprMF(BprConfig(embedding_size=SIZE))
        state = {
            "users": tastes(table, self.n_users),
            "items": table,
            "bias": torch.zeros(N_ITEMS),
        }
        agent.load(state, n_users=self.n_users, n_items=N_ITEMS)
        return agent

    def ask(self, agent: Agent[BprConfig] | Agent[IalsConfig], users: UserBatch) -> Tensor:
        rows = [users.take(torch.tensor([row])) for row in range(len(users))]
        answers = [agent.act(row, (), K) for row in rows]
        assert all(isinstance(answer, Candidates) for answer in answers)
        return torch.cat([a.items for a in answers if isinstance(a, Candidates)])

    def test_they_are_exact_unless_they_are_told_to_serve(
        self, table: Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: object) -> None:
            raise AssertionError("an index was asked for")

        monkeypatch.setattr(vector_index.ApproximateSearch, "__call__", refused)
        agent = self.agent(table)
        users = with_history(tastes(table, self.n_users), table)
        together = agent.act(users, (), K)
        assert torch.equal(self.ask(agent, users), together.items)

    @needs_library
    def test_they_serve_nearly_the_same_by_an_index(self, table: Tensor) -> None:
        exact, agent = self.agent(table), self.agent(table)
        agent.serve_approximately(from_items=N_ITEMS)
        users = with_history(tastes(table, self.n_users), table)
        self.ask(agent, users.take(torch.arange(80)))
        approximate = agent._search
        assert isinstance(approximate, ApproximateSearch)
        assert approximate.settled() is not None
        found, wanted = self.ask(agent, users), exact.act(users, (), K)
        assert not torch.equal(found, wanted.items)
        assert recall(Candidates(found, wanted.scores), wanted) >= 0.9
        assert torch.equal(agent.act(users, (), K).items, wanted.items)

    @needs_library
    def test_a_user_without_a_history_gets_what_is_popular(self, table: Tensor) -> None:
        agent = Ials(IalsConfig(embedding_size=SIZE))
        prior = torch.linspace(1e-6, 0, N_ITEMS)
        agent.load({"items": table, "prior": prior}, n_users=10, n_items=N_ITEMS)
        agent.serve_approximately(from_items=N_ITEMS)
        self.ask(agent, people(torch.arange(100)[:, None]))
        approximate = agent._search
        assert isinstance(approximate, ApproximateSearch)
        assert approximate.settled() is not None
        nothing = torch.zeros(0, dtype=torch.int64)
        stranger = UserBatch(torch.tensor([-1]), torch.tensor([0, 0]), nothing)
        assert self.ask(agent, stranger).tolist() == [list(range(K))]
