"""Which values of a document must be of one width, and how they are made to be again.

A residual, a tied score or a sum ties the widths of several values to each other. Where one of them
is given by what it is made of (vectors side by side, a number for each pair), the others follow it;
else the first block that sets its own width decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]
_KEEP = ("positions", "norm", "cross", "attention", "convolution", "pooling", "generated")
_SET = ("embedding", "feature_embedding", "recurrent")
_STACKED = ("mlp", "mixture")


class Ties:
    """Groups of values of one width."""

    def __init__(self, blocks: Sequence[Body], head: Body) -> None:
        self._parent: dict[str, str] = {}
        self.made: dict[str, tuple[str, ...] | int] = {}
        """Values whose width is given: a number, or the sum of the widths of others."""
        for block in blocks:
            self._tie_block(block)
        if head["head"] == "dot":
            self._tie(head["query"], head["items"])

    def group(self, value: str) -> str:
        """The value that stands for all that have its width."""
        self._parent.setdefault(value, value)
        while self._parent[value] != value:
            value = self._parent[value]
        return value

    def _tie(self, *values: str) -> None:
        first = self.group(values[0])
        for value in values[1:]:
            self._parent[self.group(value)] = first

    def _tie_block(self, block: Body) -> None:
        kind, name = block["block"], block["name"]
        if kind in _KEEP:
            self._tie(block["input"], name)
        elif kind == "lookup":
            self._tie(block["table"], name)
        elif kind == "graph_propagation":
            self._tie(block["users"], block["items"], f"{name}.users", f"{name}.items")
        elif kind == "mixture":
            self._tie(*(f"{name}.{gate}" for gate in block["gates"]))
        elif kind == "target_attention":
            self._tie(block["input"], block["candidate"], name)
        elif kind == "gate":
            self._tie(block["a"], block["b"], name)
        elif kind == "add":
            self._tie(*block["of"], name)
        elif kind == "factorisation":
            self._tie(*block["of"])
            self.made[name] = 1
        elif kind == "similarity":
            self._tie(block["candidate"], *block["of"])
            self.made[name] = len(block["of"])
        elif kind == "context":
            self.made[name] = 2
        elif kind == "concat":
            self.made[name] = tuple(block["of"])


def sets_width(block: Body) -> str | None:
    """The value whose width the block sets by a field of its own; None for all others."""
    if block["block"] in _SET or block["block"] == "mlp":
        return str(block["name"])
    return f"{block['name']}.{block['gates'][0]}" if block["block"] == "mixture" else None


def own_width(block: Body) -> int:
    """That field."""
    return int(block["widths"][-1] if block["block"] in _STACKED else block["width"])


def set_width(block: dict[str, Any], width: int) -> None:
    """Change that field."""
    if block["block"] in _STACKED:
        block["widths"] = [*block["widths"][:-1], width]
    else:
        block["width"] = width


def fit(blocks: Sequence[dict[str, Any]], head: Body) -> None:
    """Give all values of a group one width, as far as blocks set theirs. Changes the blocks.

    Attention keeps as many heads as divide its width, at most those it had.
    """
    ties = Ties(blocks, head)
    widths = _solved(blocks, ties)
    for block in blocks:
        value = sets_width(block)
        if value is not None:
            set_width(block, widths[ties.group(value)])
        if block["block"] == "attention":
            width = widths[ties.group(block["name"])]
            block["heads"] = max(h for h in range(1, block["heads"] + 1) if width % h == 0)


def _solved(blocks: Sequence[Body], ties: Ties) -> dict[str, int]:
    """Group -> width. A group that depends on its own width gets that of its first block."""
    made = {ties.group(value): what for value, what in reversed(ties.made.items())}
    first: dict[str, int] = {}
    for block in blocks:
        value = sets_width(block)
        if value is not None:
            first.setdefault(ties.group(value), own_width(block))
    known: dict[str, int] = {}

    def width(group: str) -> int:
        if group not in known:
            known[group] = first.get(group, 1)
            what = made.get(group)
            if isinstance(what, int):
                known[group] = what
            elif what is not None:
                known[group] = sum(width(ties.group(name)) for name in what)
        return known[group]

    for block in blocks:
        for name in _values(block):
            width(ties.group(name))
    return known


def _values(block: Body) -> list[str]:
    if block["block"] == "graph_propagation":
        return [f"{block['name']}.users"]
    if block["block"] == "mixture":
        return [f"{block['name']}.{block['gates'][0]}"]
    return [block["name"]]
