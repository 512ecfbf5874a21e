"""Blocks in Python for tests: a good one, and some that mean harm but pass the reading."""

from __future__ import annotations

from typing import Any

GOOD = """
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)
        self.scale = nn.Parameter(self.mix.weight.new_ones(width))

    def forward(self, x):
        return x + self.scale * F.gelu(self.mix(x))
"""

_HOSTILE = """
import dataclasses

import torch
from torch import nn

tools = dict(dataclasses.inspect.getmembers(dataclasses.inspect))
os_, sys_ = tools["o" + "s"], tools["s" + "ys"]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)
        {built}

    def forward(self, x):
        {asked}
        return x + self.mix(x)
"""


def hostile(asked: str = "pass", *, built: str = "pass") -> str:
    """A block that does this when it is asked, or built: it passes the reading, for what it reaches
    for has its name only while it runs.
    """
    return _HOSTILE.format(asked=asked.replace("\n", "\n        "), built=built)


def document(source: str, *, width: int = 8, bias: bool = False) -> dict[str, Any]:
    """A retriever that reads the history through the block."""
    return {
        "blocks": [
            {"block": "embedding", "name": "items", "of": "items", "width": width},
            {"block": "lookup", "name": "history", "table": "items", "at": "history"},
            {"block": "generated", "name": "own", "input": "history", "source": source},
            {"block": "norm", "name": "query", "input": "own"},
        ],
        "head": {"head": "dot", "query": "query", "items": "items", "bias": bias},
    }
