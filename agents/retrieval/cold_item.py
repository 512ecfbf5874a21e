"""Puts items that nobody has taken yet where others like them stand, by what is said of them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from agenticrs.agents.agent import Budget
from agenticrs.agents.retrieval.common import item_counts
from agenticrs.agents.retrieval.ials import Ials, IalsConfig
from agenticrs.agents.training_data import FeatureTensors, TrainingData
from agenticrs.platform.errors import AgentError
from agenticrs.registry.spec import Choice, DecisionSpace, FloatRange, IntRange

_MOST_COLUMNS = 4096
"""The regression solves a system of this size; categorical features that would not fit, such as an
author of whom each has a few items, are left out."""
_ITEMS_AT_ONCE = 8192
"""Items whose columns are in memory at a time: for a million items they would take 16 GB."""


class ColdItemConfig(IalsConfig):
    """Size of the space, and how much content counts in it."""

    ridge: float = Field(default=10.0, gt=0)
    """Regularisation of the map from content to the space, in items."""
    trust: float = Field(default=20.0, gt=0)
    """Takers at which what users did and what is said of an item count the same."""
    words: int = Field(default=1024, ge=0, le=2048)
    """Columns for the words of titles, shared by hash; 0: titles are not read."""


class ColdItem(Ials):
    """score(u, i) = p_u . v_i with v_i = (n_i q_i + trust c_i) / (n_i + trust).

    q_i are the factors of iALS, n_i the item's takers, and c_i = W x_i the ridge regression of q on
    the content x (tags, categories, numbers, words of the title), each item weighted by
    n_i / (n_i + trust), in closed form. An item without takers stands where its content points.
    """

    config_type = ColdItemConfig
    spec = Ials.spec.model_copy(
        update={
            "name": "cold_item",
            "summary": "Places new items among known ones by tags, categories, numbers and titles.",
            "paper": "Gantner et al. 2010, Learning attribute-to-feature mappings for cold-start",
            "space": DecisionSpace(
                parameters=(
                    IntRange(name="embedding_size", low=16, high=128, log=True),
                    FloatRange(name="unobserved_weight", low=0.005, high=1.0, log=True),
                    FloatRange(name="l2", low=1e-4, high=0.1, log=True),
                    FloatRange(name="ridge", low=0.1, high=1000.0, log=True),
                    FloatRange(name="trust", low=1.0, high=200.0, log=True),
                    Choice(name="words", values=(0, 1024)),
                )
            ),
        }
    )

    def fit(self, data: TrainingData, budget: Budget) -> None:
        """Factorise, then learn the map from content; AgentError when items have no content."""
        config = cast(ColdItemConfig, self.config)
        features = data.item_features
        width = content_columns(_some(features, slice(0, 0)), config.words).shape[1]
        if not width:
            raise AgentError(
                "cold_item: nothing is said of the items of this dataset",
                hint="import tags, categories, numbers or titles of items with it, or use ials",
            )
        super().fit(data, budget)
        takers = item_counts(data.histories, self.n_items)[:, None]
        known = takers / (takers + config.trust)
        blocks = [
            slice(start, start + _ITEMS_AT_ONCE) for start in range(0, self.n_items, _ITEMS_AT_ONCE)
        ]
        system = config.ridge * torch.eye(width, device=self.device)
        wanted = self.items.new_zeros(width, self.items.shape[1])
        for rows in blocks:
            content = content_columns(_some(features, rows), config.words)
            weighted = content * known[rows]
            system += content.T @ weighted
            wanted += weighted.T @ self.items[rows]
        to_space = torch.cholesky_solve(wanted, torch.linalg.cholesky_ex(system).L)
        pointed = torch.cat(
            [content_columns(_some(features, rows), config.words) @ to_space for rows in blocks]
        )
        self.items = known * self.items + (1 - known) * pointed
        self._index()


def content_columns(features: FeatureTensors, words: int = 0) -> Tensor:
    """All that is said of the items as columns (n, f) float32, a column of ones last.

    Tags in unit length, so many ``words`` of titles too; categories one-hot (code 0, unknown, says
    nothing), numbers as they are standardised. (n, 0) when nothing is said.
    """
    parts = [functional.normalize(features.tags, dim=1), features.numeric]
    if features.words is not None and words:
        parts.append(_bags(features.words, words))
    room = _MOST_COLUMNS - sum(part.shape[1] for part in parts)
    for place, size in enumerate(features.cardinality):
        if size <= room:
            codes = functional.one_hot(features.codes[:, place], size)[:, 1:]
            parts.append(codes.to(torch.float32))
            room -= size
    joined = torch.cat(parts, 1)
    if not joined.shape[1]:
        return joined
    return torch.cat([joined, joined.new_ones(len(joined), 1)], 1)


def _bags(words: Tensor, columns: int) -> Tensor:
    """Which words each title has, (n, columns), rows of unit length or zero."""
    read = (words >= 0).to(torch.float32)
    bags = read.new_zeros(len(words), columns).scatter_add_(1, words.clamp(min=0) % columns, read)
    return functional.normalize(bags, dim=1)


def _some(features: FeatureTensors, rows: slice) -> FeatureTensors:
    return replace(
        features,
        codes=features.codes[rows],
        tags=features.tags[rows],
        numeric=features.numeric[rows],
        words=None if features.words is None else features.words[rows],
    )
