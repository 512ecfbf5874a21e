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
import math

import torch
from torch import nn

tools = dict(dataclasses.inspect.getmembers(dataclasses.inspect))
os_, sys_ = tools["o" + "s"], tools["s" + "ys"]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)

    def forward(self, x):
        {body}
        return x + self.mix(x)
"""


def hostile(body: str) -> str:
    """A block that gets at more than it should while it computes; reading finds nothing in it."""
    return _HOSTILE.format(body=body.replace("\n", "\n        "))


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
