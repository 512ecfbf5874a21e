"""Documents of known models: what agents are built from, and what evolution starts from."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any, Literal

from agenticrs.agents.grammar.document import Architecture

Blocks = list[dict[str, Any]]


def sequential(
    body: Blocks, *, width: int, length: int, dropout: float, places: bool = True
) -> Architecture:
    """A model that reads the history: item vectors, places, ``body`` from ``x`` on, tied scores.

    ``body``'s last block is the query. Without ``places`` the body alone knows the order.
    """
    name = "history" if places else "x"
    return _made(
        [
            {"block": "embedding", "name": "items", "of": "items", "width": width},
            {
                "block": "lookup",
                "name": name,
                "table": "items",
                "at": "history",
                "scale": True,
                "dropout": 0.0 if places else dropout,
            },
            *(
                [
                    {
                        "block": "positions",
                        "name": "x",
                        "input": name,
                        "length": length,
                        "dropout": dropout,
                    }
                ]
                if places
                else []
            ),
            *body,
        ],
        {"head": "dot", "query": body[-1]["name"], "items": "items"},
    )


def sasrec(
    *,
    width: int = 64,
    layers: int = 2,
    heads: int = 1,
    length: int = 50,
    dropout: float = 0.3,
    norm: Literal["pre", "post"] = "pre",
    places: bool = True,
    relative: int = 0,
    times: int = 0,
) -> Architecture:
    """SASRec: causal self-attention (Kang & McAuley 2018), over learned ``places``.

    ``relative`` adds a bias for each of so many distances to every layer's attention, ``times``
    one for each of so many spans of time (TiSASRec, Li et al. 2020).
    """
    body = _attention(
        layers, heads=heads, norm=norm, relative=relative, times=times, dropout=dropout
    )
    return sequential(body, width=width, length=length, dropout=dropout, places=places)


def hstu(
    *,
    width: int = 64,
    layers: int = 2,
    heads: int = 1,
    length: int = 50,
    dropout: float = 0.3,
    times: int = 32,
) -> Architecture:
    """HSTU: gated SiLU attention, biased by distance and elapsed time (Zhai et al. 2024)."""
    body = _attention(
        layers, heads=heads, kernel="silu", relative=length, times=times, dropout=dropout
    )
    return sequential(body, width=width, length=length, dropout=dropout)


def gru4rec(
    *, width: int = 64, layers: int = 1, length: int = 50, dropout: float = 0.2
) -> Architecture:
    """GRU4Rec: a recurrent unit over the history (Hidasi et al. 2016)."""
    return _made(
        [
            {"block": "embedding", "name": "items", "of": "items", "width": width},
            {
                "block": "lookup",
                "name": "history",
                "table": "items",
                "at": "history",
                "scale": True,
                "dropout": dropout,
            },
            {
                "block": "recurrent",
                "name": "query",
                "input": "history",
                "width": width,
                "layers": layers,
                "dropout": dropout,
            },
        ],
        {"head": "dot", "query": "query", "items": "items", "bias": True},
    )


def factors(*, width: int = 64) -> Architecture:
    """Matrix factorisation with a bias for each item: what BPR-MF learns (Rendle et al. 2009)."""
    return _made(
        [
            {"block": "embedding", "name": "users", "of": "users", "width": width},
            {"block": "embedding", "name": "items", "of": "items", "width": width},
            {"block": "lookup", "name": "query", "table": "users", "at": "user"},
        ],
        {"head": "dot", "query": "query", "items": "items", "bias": True},
    )


def lightgcn(*, width: int = 64, layers: int = 2) -> Architecture:
    """LightGCN: factors smoothed over the graph of interactions (He et al. 2020)."""
    return _made(
        [
            {"block": "embedding", "name": "users", "of": "users", "width": width},
            {"block": "embedding", "name": "items", "of": "items", "width": width},
            {
                "block": "graph_propagation",
                "name": "graph",
                "users": "users",
                "items": "items",
                "layers": layers,
            },
            {"block": "lookup", "name": "query", "table": "graph.users", "at": "user"},
        ],
        {"head": "dot", "query": "query", "items": "graph.items"},
    )


def two_tower(
    *, width: int = 64, hidden: int = 128, ids: bool = True, words: int = 0
) -> Architecture:
    """Two towers over content: features (and ids) of items on one side, the history on the other.

    Without ``ids`` an item is what its features say, so that new ones have vectors too
    (Covington et al. 2016; Yi et al. 2019). With ``words`` its title is read as well.
    """
    content = {"block": "feature_embedding", "name": "content", "of": "items", "width": width}
    tables: Blocks = [
        {**content, "words": words},
        {
            "block": "mlp",
            "name": "described",
            "input": "content",
            "widths": [hidden, width],
            "linear_end": True,
        },
    ]
    items = "described"
    if ids:
        tables += [
            {"block": "embedding", "name": "ids", "of": "items", "width": width},
            {"block": "add", "name": "items", "of": ["described", "ids"]},
        ]
        items = "items"
    return _made(
        [
            *tables,
            {"block": "feature_embedding", "name": "people", "of": "users", "width": width},
            {"block": "lookup", "name": "person", "table": "people", "at": "user"},
            {"block": "lookup", "name": "history", "table": items, "at": "history"},
            {"block": "pooling", "name": "taste", "input": "history", "how": "attention"},
            {"block": "pooling", "name": "newest", "input": "history", "how": "newest"},
            {"block": "concat", "name": "all", "of": ["person", "taste", "newest"]},
            {
                "block": "mlp",
                "name": "query",
                "input": "all",
                "widths": [hidden, width],
                "linear_end": True,
            },
        ],
        {"head": "dot", "query": "query", "items": items, "bias": True},
    )


Ranker = Literal["lr", "fm", "deepfm", "dcn", "din"]


def ranker(
    kind: Ranker,
    *,
    width: int = 16,
    hidden: int = 64,
    crosses: int = 2,
    tasks: tuple[str, ...] = ("click",),
) -> Architecture:
    """One vector for each candidate out of user, item, history and context, a logit a task.

    ``lr`` is linear in one-wide vectors; ``fm`` multiplies all pairs (Rendle 2010); ``deepfm``
    adds a deep part (Guo 2017); ``dcn`` crosses, the similarities among its input (Wang 2021);
    ``din`` weighs the history by each candidate (Zhou 2018).
    """
    wide = 1 if kind == "lr" else width
    blocks = features(wide)
    given = ["user", "taste", "newest", "item"]
    parts = [*given, "context"]
    if kind == "din":
        blocks.append(
            {
                "block": "target_attention",
                "name": "fit",
                "input": "history",
                "candidate": "item",
                "hidden": hidden,
            }
        )
        parts.append("fit")
    if kind == "dcn":
        similar = {"block": "similarity", "name": "similar", "candidate": "item"}
        blocks.append({**similar, "of": ["user", "taste", "newest"]})
        parts.insert(-1, "similar")
    blocks.append({"block": "concat", "name": "all", "of": parts})
    out = ["all"]
    if kind in ("fm", "deepfm"):
        blocks.append({"block": "factorisation", "name": "pairs", "of": given})
        out = ["pairs", "context", *given]
    if kind == "dcn":
        blocks.append({"block": "cross", "name": "crossed", "input": "all", "layers": crosses})
        out = ["crossed"]
    if kind in ("deepfm", "dcn", "din"):
        blocks.append({"block": "mlp", "name": "deep", "input": "all", "widths": [hidden, hidden]})
        out = ["deep"] if kind == "din" else [*out, "deep"]
    blocks.append({"block": "concat", "name": "out", "of": out})
    return _made(blocks, {"head": "logits", "tasks": dict.fromkeys(tasks, "out")})


def multi_task(
    tasks: tuple[str, ...],
    *,
    width: int = 16,
    hidden: int = 64,
    shared: int = 4,
    own: int = 0,
    rare: Collection[str] = (),
    own_width: int = 16,
    top: int | None = None,
) -> Architecture:
    """Experts that tasks share, blended by a gate for each (MMoE); ``own`` ones make it a PLE.

    Beside its tower each task has its own linear view of the vectors and of the products of their
    pairs, as a single-task DeepFM has. ``rare`` tasks have vectors of their own besides.
    """
    given = ["user", "taste", "newest", "item"]
    alone = {task: _alone(task, own_width) if task in rare else [] for task in tasks}
    return _made(
        [
            *features(width),
            {"block": "concat", "name": "all", "of": [*given, "context"]},
            {"block": "factorisation", "name": "pairs", "of": given},
            {
                "block": "mixture",
                "name": "experts",
                "input": "all",
                "gates": list(tasks),
                "shared": shared,
                "own": own,
                "widths": [hidden],
                "top": top,
            },
            *(
                block
                for task in tasks
                for block in (
                    *alone[task],
                    {
                        "block": "mlp",
                        "name": f"deep_{task}",
                        "input": f"experts.{task}",
                        "widths": [hidden],
                    },
                    {
                        "block": "concat",
                        "name": f"tower_{task}",
                        "of": ["pairs", "context", *given, f"deep_{task}", *_seen(alone[task])],
                    },
                )
            ),
        ],
        {"head": "logits", "tasks": {task: f"tower_{task}" for task in tasks}},
    )


ROUTER_SHARE = "experts.main.share"
"""The value of ``towers`` that says how the experts were blended."""


def towers(*, width: int, hidden: int, long: int, cold: int, experts: int) -> Architecture:
    """A general tower, one over the history as the candidate sees it, one over content alone."""

    def tower(name: str, of: list[str], inner: int) -> Blocks:
        return [
            {"block": "concat", "name": f"{name}_sees", "of": of},
            {"block": "mlp", "name": name, "input": f"{name}_sees", "widths": [inner, inner]},
        ]

    return _made(
        [
            *features(width),
            {
                "block": "target_attention",
                "name": "attended",
                "input": "history",
                "candidate": "item",
                "hidden": long,
            },
            {"block": "lookup", "name": "user_said", "table": "users_said", "at": "user"},
            {"block": "lookup", "name": "item_said", "table": "items_said", "at": "candidates"},
            *tower("general", ["context", "user", "item", "taste", "newest"], hidden),
            *tower("long", ["context", "item", "attended"], long),
            *tower("cold", ["context", "user_said", "item_said"], cold),
            {"block": "concat", "name": "towers", "of": ["general", "long", "cold"]},
            {
                "block": "mixture",
                "name": "experts",
                "input": "towers",
                "gates": ["main"],
                "shared": experts,
                "widths": [hidden],
            },
        ],
        {"head": "logits", "tasks": {"main": "experts.main", "long": "long", "cold": "cold"}},
    )


def features(width: int) -> Blocks:
    """What rankers see: ``user``, ``item``, ``history``, ``taste``, ``newest``, ``context``."""
    blocks: Blocks = [{"block": "context", "name": "context"}]
    for entity in ("users", "items"):
        blocks += [
            {"block": "embedding", "name": f"{entity}_ids", "of": entity, "width": width},
            {"block": "feature_embedding", "name": f"{entity}_said", "of": entity, "width": width},
            {"block": "add", "name": entity, "of": [f"{entity}_ids", f"{entity}_said"]},
        ]
    return [
        *blocks,
        {"block": "lookup", "name": "user", "table": "users", "at": "user"},
        {"block": "lookup", "name": "item", "table": "items", "at": "candidates"},
        {"block": "lookup", "name": "history", "table": "items", "at": "history"},
        {"block": "pooling", "name": "taste", "input": "history", "how": "mean"},
        {"block": "pooling", "name": "newest", "input": "history", "how": "newest"},
    ]


def _alone(task: str, width: int) -> Blocks:
    """A task's own vectors of user, taste, newest and item, and the products of their pairs."""
    users, items, past = f"users_{task}", f"items_{task}", f"past_{task}"
    given = [f"{what}_{task}" for what in ("user", "mean", "last", "item")]
    user, taste, newest, item = given
    return [
        {"block": "embedding", "name": users, "of": "users", "width": width},
        {"block": "embedding", "name": items, "of": "items", "width": width},
        {"block": "lookup", "name": user, "table": users, "at": "user"},
        {"block": "lookup", "name": item, "table": items, "at": "candidates"},
        {"block": "lookup", "name": past, "table": items, "at": "history"},
        {"block": "pooling", "name": taste, "input": past, "how": "mean"},
        {"block": "pooling", "name": newest, "input": past, "how": "newest"},
        {"block": "factorisation", "name": f"pairs_{task}", "of": given},
    ]


def _seen(alone: Blocks) -> list[str]:
    """What a tower reads of a task's own blocks: the products, and what they are of."""
    return [name for products in alone[-1:] for name in (products["name"], *products["of"])]


def _attention(layers: int, **settings: Any) -> Blocks:
    """Layers of attention from ``x`` on, and a norm that is the query."""
    names = ["x", *(f"layer{number}" for number in range(layers))]
    body: Blocks = [
        {"block": "attention", "name": name, "input": before, **settings}
        for before, name in pairwise(names)
    ]
    return [*body, {"block": "norm", "name": "query", "input": names[-1]}]


def _made(blocks: Blocks, head: dict[str, Any]) -> Architecture:
    return Architecture.model_validate({"blocks": blocks, "head": head})
