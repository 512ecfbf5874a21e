"""Retrievers whose score is an inner product: they search the table without holding all scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from agenticrs.agents.agent import AgentConfig, Retriever
from agenticrs.agents.batch import Candidates, UserBatch
from agenticrs.agents.vector_search import search

ConfigT = TypeVar("ConfigT", bound=AgentConfig)


class DotRetriever(Retriever[ConfigT]):
    """score(u, i) = query(u) . table(i). Biases and priors travel as further columns of both."""

    chunk: ClassVar[int] = 1024
    table: Tensor
    """(n_items, d); a subclass sets it in ``fit`` and ``load``."""

    @abstractmethod
    def queries(self, users: UserBatch) -> Tensor:
        """The users' vectors, (B, d); ``users`` hold only known users and items."""

    def score(self, users: UserBatch) -> Tensor:
        """All scores at once."""
        return self.queries(users) @ self.table.T

    def act(self, users: UserBatch, inputs: Sequence[Candidates], k: int) -> Candidates:
        """The k best items that are not in the user's history."""
        users = users.within(self.n_users, self.n_items)
        parts = [Candidates.empty(0, min(k, self.n_items), self.device)]
        for start in range(0, len(users), self.chunk):
            rows = torch.arange(start, min(start + self.chunk, len(users)), device=self.device)
            batch = users.take(rows)
            parts.append(search(self.queries(batch), self.table, k, batch))
        return Candidates(
            torch.cat([part.items for part in parts]), torch.cat([part.scores for part in parts])
        )
