"""Operators that put blocks in, take them out, double or exchange them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agenticrs.agents.grammar.draft import Body, Draft, outputs, reads, rename_reads
from agenticrs.agents.grammar.vary_joins import joined
from agenticrs.agents.grammar.vary_settings import ACTIVATIONS, WIDTHS, Operator, pick

_SEQUENCE = ("attention", "convolution", "recurrent")
_FITTING = {
    "sequence": (*_SEQUENCE, "mlp", "norm", "positions"),
    "vector": ("mlp", "norm", "cross"),
    "candidates": ("mlp", "norm", "cross"),
    "table": ("mlp", "norm"),
}
"""Kind of value -> blocks that keep its kind and width."""
_ONE_INPUT = (*_SEQUENCE, "mlp", "norm", "positions", "cross", "generated")


def insert(draft: Draft, rng: np.random.Generator) -> str | None:
    """A new block of the same width behind a value, for all who read it or for one of them."""
    value = pick(rng, draft.values("sequence", "vector", "candidates", "table"))
    kinds = [kind for kind in _FITTING[draft.shapes[value].kind] if not _idle(draft, kind, value)]
    new = _new_block(draft, rng, pick(rng, kinds), value)
    readers = [body["name"] for body in draft.readers(value) if body["name"] != new]
    readers += ["head"] if value in draft.head_reads() else []
    if not readers:
        return None
    if len(readers) == 1 or rng.random() < 0.5:
        draft.redirect(value, new, but=(new,))
        return f"{new}: {_said(draft, new)} inserted behind {value}"
    reader = pick(rng, readers)
    if reader == "head":
        draft.redirect_head(value, new)
    else:
        rename_reads(draft.blocks[reader], {value: new})
    return f"{new}: {_said(draft, new)} inserted between {value} and {reader}"


def remove(draft: Draft, rng: np.random.Generator) -> str | None:
    """Take a block out: who read it reads what it read."""
    able = draft.of_kind(*_ONE_INPUT)
    if not able:
        return None
    body = pick(rng, able)
    draft.redirect(body["name"], body["input"])
    return f"{body['name']}: {body['block']} removed"


def duplicate(draft: Draft, rng: np.random.Generator) -> str | None:
    """A block that keeps the width once more, behind itself."""
    kinds = (*_SEQUENCE, "mlp", "cross")
    able = [body for body in draft.of_kind(*kinds) if _keeps_shape(draft, body)]
    if not able:
        return None
    body = pick(rng, able)
    name = body["name"]
    copy = draft.fresh(name)
    draft.redirect(name, copy)
    draft.blocks[copy] = {**body, "name": copy, "input": name}
    return f"{name}: {body['block']} doubled, as {copy}"


def swap_kind(draft: Draft, rng: np.random.Generator) -> str | None:
    """A block that reads a sequence becomes one of another kind with the same width."""
    able = draft.of_kind(*_SEQUENCE)
    if not able:
        return None
    body = pick(rng, able)
    kind = pick(rng, [kind for kind in _SEQUENCE if kind != body["block"]])
    name, dropout = body["name"], body["dropout"]
    new = draft.blocks.pop(_new_block(draft, rng, kind, body["input"]))
    draft.blocks[name] = {**new, "name": name, "dropout": dropout}
    return f"{name}: {body['block']} became {_said(draft, name)}"


def bypass(draft: Draft, rng: np.random.Generator) -> str | None:
    """What a block read is added to what it puts out, or a gate blends the two."""
    kinds = ("mlp", "recurrent", "attention", "convolution", "cross")
    able = [
        body
        for body in draft.of_kind(*kinds)
        if _keeps_shape(draft, body)
        and not any(body["input"] in reads(reader) for reader in draft.readers(body["name"]))
    ]
    if not able:
        return None
    body = pick(rng, able)
    how = pick(rng, ("add", "gate"))
    both = joined(draft, how, body["name"], body["input"])
    draft.redirect(body["name"], both, but=draft.upstream(both))
    return f"{body['name']}: its input goes past it into {both} ({how})"


def join_kind(draft: Draft, rng: np.random.Generator) -> str | None:
    """A sum of two values becomes a gate between them, or the reverse."""
    able = [b for b in draft.of_kind("add", "gate") if b["block"] == "gate" or len(b["of"]) == 2]
    if not able:
        return None
    body = pick(rng, able)
    name = body["name"]
    a, b = reads(body)
    if body["block"] == "add":
        draft.blocks[name] = {"block": "gate", "name": name, "a": a, "b": b}
    else:
        draft.blocks[name] = {"block": "add", "name": name, "of": [a, b]}
    return f"{name}: {body['block']} became {draft.blocks[name]['block']}"


def branch(draft: Draft, rng: np.random.Generator) -> str | None:
    """A second block beside one that keeps the kind of its input, and both joined again."""
    able = [
        body
        for body in draft.of_kind(*_SEQUENCE, "mlp", "cross")
        if draft.shape(body).kind == draft.shapes[body["input"]].kind != "table"
    ]
    if not able:
        return None
    body = pick(rng, able)
    name = body["name"]
    kinds = [k for k in _FITTING[draft.shape(body).kind] if k not in ("norm", "positions")]
    beside = _new_block(draft, rng, pick(rng, kinds), body["input"])
    how = pick(rng, ("add", "gate", "concat"))
    both = joined(draft, how, name, beside)
    draft.redirect(name, both, but=draft.upstream(both))
    return f"{beside}: {_said(draft, beside)} beside {name}, joined by {how}"


def to_experts(draft: Draft, rng: np.random.Generator) -> str | None:
    """Dense layers become experts blended by a gate."""
    able = [
        body
        for body in draft.of_kind("mlp")
        if draft.shape(body).kind in ("vector", "candidates") and len(body["widths"]) <= 3
    ]
    if not able:
        return None
    body = pick(rng, able)
    name, count = body["name"], pick(rng, (2, 3, 4, 6))
    draft.blocks[name] = {
        "block": "mixture",
        "name": name,
        "input": body["input"],
        "gates": ["main"],
        "shared": count,
        "own": 0,
        "widths": body["widths"],
        "activation": body["activation"],
        "top": None,
    }
    draft.redirect(name, f"{name}.main")
    return f"{name}: mlp became {count} experts"


def from_experts(draft: Draft, rng: np.random.Generator) -> str | None:
    """Experts become dense layers, which all read that had gates of their own."""
    able = draft.of_kind("mixture")
    if not able:
        return None
    body = pick(rng, able)
    name = body["name"]
    del draft.blocks[name]
    mlp = {"widths": body["widths"], "activation": body["activation"]}
    new = draft.add("mlp", name, input=body["input"], **mlp)
    for value in outputs(body):
        draft.redirect(value, new)
    return f"{name}: {body['shared']} experts became an mlp"


def _new_block(draft: Draft, rng: np.random.Generator, kind: str, value: str) -> str:
    """A block of that kind that keeps the width of the value it reads; its name."""
    width = draft.shapes[value].width
    dropout = pick(rng, (0.0, 0.1, 0.2, 0.3))
    if kind == "attention":
        fields = {
            "heads": pick(rng, [heads for heads in (1, 2, 4) if width % heads == 0]),
            "feed_forward": 2,
            "norm": pick(rng, ("pre", "post")),
            "kernel": pick(rng, ("softmax", "silu")),
            "relative": pick(rng, (0, 50)),
            "dropout": dropout,
        }
    elif kind == "convolution":
        kernel, dilation = pick(rng, (2, 3, 5)), pick(rng, (1, 2, 4))
        fields = {"kernel": kernel, "dilation": dilation, "dropout": dropout}
    elif kind == "recurrent":
        fields = {"width": width, "layers": 1, "dropout": dropout}
    elif kind == "positions":
        fields = {"length": pick(rng, (20, 50, 100)), "dropout": dropout}
    elif kind == "cross":
        fields = {"layers": pick(rng, (1, 2)), "rank": None}
    elif kind == "mlp":
        widths = pick(rng, ([width], [min(2 * width, WIDTHS[-1]), width]))
        linear, activation = bool(rng.integers(2)), pick(rng, ACTIVATIONS[:3])
        fields = {"widths": widths, "linear_end": linear, "activation": activation}
    else:
        fields = {}
    stem = value if kind == "norm" else kind
    return draft.add(kind, stem, input=value, **fields)


def _idle(draft: Draft, kind: str, value: str) -> bool:
    """Whether such a block would do once more what was done already."""
    before = draft.upstream(value) if kind == "positions" else {value.partition(".")[0]}
    return kind in ("positions", "norm") and any(
        draft.blocks[name]["block"] == kind for name in before
    )


def _keeps_shape(draft: Draft, body: Body) -> bool:
    return draft.shape(body) == draft.shapes[body["input"]]


def _said(draft: Draft, name: str) -> str:
    """Kind of a block, and what tells it from others of its kind."""
    body = draft.blocks[name]
    telling = {
        "attention": ("kernel", "heads"),
        "convolution": ("kernel", "dilation"),
        "recurrent": ("width",),
        "mlp": ("widths",),
        "cross": ("layers",),
        "positions": ("length",),
    }.get(body["block"], ())
    details = ", ".join(
        f"{key} " + ("-".join(map(str, v)) if isinstance(v := body[key], list) else str(v))
        for key in telling
    )
    return f"{body['block']} ({details})" if details else str(body["block"])


BLOCKS: Mapping[str, Operator] = {
    "insert": insert,
    "remove": remove,
    "duplicate": duplicate,
    "swap_kind": swap_kind,
    "bypass": bypass,
    "join_kind": join_kind,
    "branch": branch,
    "to_experts": to_experts,
    "from_experts": from_experts,
}
"""All of them by name."""
