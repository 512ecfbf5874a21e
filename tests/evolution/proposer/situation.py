"""What the tests of the proposer share: small tasks, a briefing, good answers, a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.llm_server import Endpoint

from agenticrs.agents.grammar.cost import Machine
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.ranking.dcn import DcnV2
from agenticrs.agents.retrieval.sasrec import SASRec
from agenticrs.agents.training_data import EntityShape
from agenticrs.evolution.methods.method import Tried
from agenticrs.evolution.proposer.briefing import Briefing
from agenticrs.evolution.proposer.composition_task import CompositionTask
from agenticrs.evolution.proposer.proposer import Limits, Proposer, Useless
from agenticrs.evolution.proposer.structure_task import StructureTask
from agenticrs.evolution.proposer.task import Task
from agenticrs.platform.llm.openai_client import OpenAIModel
from agenticrs.platform.llm.spending import Caps, Purse, Tariff
from agenticrs.registry.spec import Choice, FloatRange, IntRange

MACHINE = Machine(flops=1e10, bytes=1e10, overhead=1e-6)
SIZES = Sizes(50, 80, EntityShape((3, 4), 2), EntityShape((5,), 3))
SASREC = StructureTask(SASRec, SIZES, machine=MACHINE)
DCN = StructureTask(DcnV2, SIZES, machine=MACHINE)
SPACE = (
    FloatRange(name="weight.ease", low=0.0, high=1.0),
    FloatRange(name="weight.bpr", low=0.0, high=1.0),
    Choice(name="ranking", values=("none", "dcn")),
    IntRange(name="rrf.k", low=1, high=100, log=True),
)
COMPOSITION = CompositionTask(SPACE)
TARIFF = Tariff({"small": (1.0, 4.0), "large": (10.0, 40.0)})

ITEMS = {"block": "embedding", "name": "items", "of": "items", "width": 32}
HISTORY = {"block": "lookup", "name": "history", "table": "items", "at": "history"}


def document(*blocks: dict[str, Any], query: str = "query") -> dict[str, Any]:
    """A retriever's document over the history."""
    head = {"head": "dot", "query": query, "items": "items"}
    return {"blocks": [ITEMS, HISTORY, *blocks], "head": head}


RECURRENT = document({"block": "recurrent", "name": "query", "input": "history", "width": 32})
WRONG_WIDTH = document({"block": "recurrent", "name": "query", "input": "history", "width": 16})
CONVOLUTION = document({"block": "convolution", "name": "query", "input": "history"})
POOLED = document({"block": "pooling", "name": "query", "input": "history", "how": "attention"})


def structure(made: Any, *, parent: str = "current", **settings: Any) -> dict[str, Any]:
    """An answer to the task of drafting a structure."""
    return {**_reasons(parent), "document": made, "settings": settings}


def composition(parent: str = "current", **point: Any) -> dict[str, Any]:
    """An answer to the task of drafting a composition; dots are written as two underscores."""
    return {**_reasons(parent), "point": {k.replace("__", "."): v for k, v in point.items()}}


def _reasons(parent: str) -> dict[str, Any]:
    return {
        "hypothesis": "Order matters more than the current structure can say.",
        "parent": parent,
        "expected": {"change": 0.03, "where": "users with long histories"},
    }


def briefing(**changes: Any) -> Briefing:
    """The situation of an agent with its defaults."""
    known: dict[str, Any] = {
        "name": "sasrec",
        "summary": "A transformer that reads the history.",
        "role": "retrieval",
        "metric": "ndcg@10",
        "current": {},
        "reward": 0.2,
    }
    return Briefing(**{**known, **changes})


def point(weight: float = 0.5, ranking: str = "none") -> dict[str, Any]:
    """A point of the space of compositions."""
    return {"weight.ease": weight, "weight.bpr": 0.5, "ranking": ranking, "rrf.k": 60}


def done(number: int, values: dict[str, Any], reward: float, **more: Any) -> Tried:
    """A candidate with a reward."""
    return Tried(number, values, "done", reward, **more)


async def _no_wait(seconds: float) -> None:
    """Nobody waits in tests."""


@dataclass
class Situation:
    """A proposer on a scripted endpoint, and what it said of useless drafts."""

    server: Endpoint
    useless: list[Useless] = field(default_factory=list)
    purse: Purse = field(default_factory=lambda: Purse(Caps(), TARIFF))

    def proposer(
        self,
        task: Task = SASREC,
        *,
        about: Briefing | None = None,
        models: Sequence[str] = ("small",),
        limits: Limits | None = None,
        seed: int = 0,
    ) -> Proposer:
        """With models of these names on the server."""
        return Proposer(
            task=task,
            briefing=about or briefing(),
            models=[
                OpenAIModel(
                    name,
                    api_key="sk-test-0123456789abcdef",
                    base_url=self.server.base_url,
                    wait=_no_wait,
                )
                for name in models
            ],
            purse=self.purse,
            seed=seed,
            limits=limits or Limits(seconds=20.0),
            useless=self.useless.append,
        )
