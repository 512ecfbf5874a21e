"""What a reader of the source refuses, and what an honest block may hold."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.platform.sandbox.errors import RefusedSource
from agenticrs.platform.sandbox.policy import Policy

HONEST = '''
"""A block."""
from __future__ import annotations
import math
from dataclasses import dataclass
from typing import Any
import torch
import torch.nn as nn
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = 1 / math.sqrt(width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        _, n, _ = x.shape
        seen = torch.ones(n, n, device=x.device).tril()
        return x + F.softmax(self.out(x) * self.scale, -1)
'''


def test_an_honest_block_passes() -> None:
    Policy().check(HONEST)


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "import torch, subprocess",
        "import torch.utils.cpp_extension",
        "import os as torch",
        "from os import system",
        "from . import secrets",
        "from math import *",
        "from torch import load",
        "from torch import hub",
        "from dataclasses import sys",
        "from typing import sys as s",
        "torch.load('x')",
        "torch.utils.data",
        "torch.ops.aten",
        "torch.serialization.os",
        "open('x')",
        "eval('1')",
        "exec('1')",
        "f = compile",
        "__import__('os')",
        "__builtins__",
        "getattr(torch, 'load')",
        "().__class__",
        "().__class__.__base__.__subclasses__()",
        "torch.nn.Linear.__init__.__globals__",
        "(lambda: 0).__globals__",
        "vars()",
        "globals()['x']",
        "class __builtins__: pass",
        "def __getattr__(name): pass",
        "match 1:\n    case object(__class__=x): pass",
        "global __name__",
        "@open\nclass A: pass",
        "x = [eval for _ in 'a']",
    ],
)
def test_what_reaches_further_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(RefusedSource, match=r"line \d"):
        Policy().check(f"{HONEST}\n{line}\n")


@pytest.mark.parametrize(
    "source",
    ["def", "\0", "x = " + "(" * 5000, "x = " + "-" * 30_000 + "1", "#" * 70_000, "x;" * 20_000],
    ids=["syntax", "null", "brackets", "deep", "long", "parts"],
)
def test_what_cannot_be_read_is_refused(source: str) -> None:
    with pytest.raises(RefusedSource):
        Policy().check(source)


def test_modules_that_are_given_with_it_may_be_imported() -> None:
    Policy().check("from block import Block", frozenset({"block"}))
    with pytest.raises(RefusedSource):
        Policy().check("from block import Block")


@given(st.text(max_size=200))
def test_any_text_is_accepted_or_refused_and_nothing_else(text: str) -> None:
    with suppress(RefusedSource):
        Policy().check(text)
