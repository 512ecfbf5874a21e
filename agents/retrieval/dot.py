"""Retrievers whose score is an inner product: they search the table without holding all scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Retriever
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.vector_index import FROM_ITEMS, ApproximateSearch
from agenticrs.agents.vector_search import search

ConfigT = TypeVar("ConfigT", bound=AgentConfig)
Search = Callable[[Tensor, Tensor, int, UserBatch], Candidates]
"""Queries (B, d), table (n_items, d), k, users: the k best items that the users have not had."""


class DotRetriever(Retriever[ConfigT]):
    """score(u, i) = query(u) . table(i). Biases and priors travel as further columns of both."""

    chunk: ClassVar[int] = 1024
    table: Tensor
    """(n_items, d); a subclass sets it in ``fit`` and ``load``, and never writes into it later."""
    _search: Search = staticmethod(search)

    @abstractmethod
    def queries(self, users: UserBatch) -> Tensor:
        """The users' vectors, (B, d); ``users`` hold only known users and items."""

    def score(self, users: UserBatch) -> Tensor:
        """All scores at once."""
        return self.queries(users) @ self.table.T

    def serve_approximately(self, from_items: int = FROM_ITEMS) -> None:
        """Answer few users at a time by an index from now on, if there are ``from_items`` or more.

        For whoever serves to call, and nobody else: an agent is exact unless it is told, so that
        what is trained and measured is exact. The number of users alone would not tell the two
        apart: the last chunk of an evaluation, or a path of a router, may have a single one.
        """
        self._search = ApproximateSearch(from_items)

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The k best items that are not in the user's history."""
        users = users.within(self.n_users, self.n_items)
        if 0 < len(users) <= self.chunk:
            return self._search(self.queries(users), self.table, k, users)
        parts = [Candidates.empty(0, min(k, self.n_items), self.device)]
        for start in range(0, len(users), self.chunk):
            rows = torch.arange(start, min(start + self.chunk, len(users)), device=self.device)
            batch = users.take(rows)
            parts.append(self._search(self.queries(batch), self.table, k, batch))
        return Candidates(
            torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
        )
