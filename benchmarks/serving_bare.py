"""The other side of ``serving.py``: the network in a plain app, as one would write it first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI
from pydantic import BaseModel

from agenticrs.agents.artifact import unpack
from agenticrs.agents.grammar.network import Batch
from agenticrs.platform.data.store import DatasetStore

LENGTH = 50


class Wanted(BaseModel):
    """Who asks for how much."""

    user_id: str
    k: int = 10


class Item(BaseModel):
    """One place of the list."""

    rank: int
    id: str
    title: str
    score: float


class Shown(BaseModel):
    """The list."""

    items: list[Item]


def bare(home: Path) -> FastAPI:
    """Looks up the history, calls the network, hides what was seen, takes the best."""
    agent: Any = unpack(home / "agents" / "sasrec")
    network, tables, table = agent.network, agent.tables, agent.table
    dataset = DatasetStore(home / "data").load("generated")
    rows = dataset.interactions
    rows = rows.take(dataset.is_positive(rows))
    order = np.argsort(rows.user, kind="stable")
    ends = np.cumsum(np.bincount(rows.user, minlength=dataset.n_users))[:-1]
    histories = np.split(rows.item[order].astype(np.int64), ends)
    places = {str(name): place for place, name in enumerate(dataset.user_ids)}
    known = torch.tensor([[1.0, 0.0]])
    app = FastAPI()

    @app.post("/v1/recommend")
    def recommend(wanted: Wanted) -> Shown:
        user = places[wanted.user_id]
        history = torch.from_numpy(histories[user])
        with torch.inference_mode():
            recent = history[-LENGTH:]
            batch = Batch(torch.tensor([user]), recent[None], torch.tensor([len(recent)]))
            query = network.last_query(tables, batch)
            scores = (torch.cat([query, known], 1) @ table.T)[0]
            scores[history] = -torch.inf
            best = scores.topk(wanted.k)
        found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return Shown(
            items=[
                Item(
                    rank=rank,
                    id=str(dataset.item_ids[item]),
                    title=str(dataset.item_titles[item]),
                    score=score,
                )
                for rank, (item, score) in enumerate(found, 1)
            ]
        )

    return app
