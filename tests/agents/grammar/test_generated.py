"""Blocks of generated code: what the check in the sandbox finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agenticrs.agents.grammar.generated import check_block
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.sandbox import Sandbox, SandboxResult

GOOD = """
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)

    def forward(self, x):
        before = x.cumsum(1) if x.dim() == 3 else x
        return x + F.gelu(self.mix(before))
"""


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    found = Sandbox.detect()
    if not found.sufficient:
        pytest.skip(f"nothing can be confined here: {'; '.join(found.reasons)}")
    return Sandbox(Limits(seconds=120), confinement=found)


@pytest.mark.slow
def test_a_block_that_keeps_its_contract_is_accepted(sandbox: Sandbox) -> None:
    report = check_block(GOOD, sandbox, width=8, kind="sequence")
    assert report.accepted, report.problems
    assert report.parameters == 8 * 8 + 8
    assert report.peak_memory > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return x + self.mix(x).mean(1, keepdim=True)", "sees places after it"),
        ("return x / (x - x)", "not finite"),
    ],
)
def test_a_block_that_breaks_it_is_refused_with_the_reason(
    sandbox: Sandbox, body: str, problem: str
) -> None:
    before = (
        "before = x.cumsum(1) if x.dim() == 3 else x\n        return x + F.gelu(self.mix(before))"
    )
    assert before in GOOD
    report = check_block(GOOD.replace(before, body), sandbox, width=8, kind="sequence")
    assert problem in " ".join(report.problems)


class Answering(Sandbox):
    """Answers what it was given, and runs nothing."""

    def __init__(self, **tensors: NDArray[Any]) -> None:
        self._tensors = tensors

    def run(self, source: str, function: str, *args: Any, **named: Any) -> SandboxResult:
        values = {"parameters": 3, "unused": []}
        return SandboxResult(self._tensors, values, seconds=1.0, peak_memory=1, printed="")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"y": np.ones((3, 4), np.float32)}, "must return the same"),
        ({"y": np.ones((3, 8))}, "must return the same"),
        ({"again": np.zeros((3, 8), np.float32)}, "different outputs"),
        ({"alone": np.zeros((1, 8), np.float32)}, "depends on the other rows"),
        ({"into_x": np.zeros((3, 8), np.float32)}, "no gradient reaches"),
    ],
)
def test_what_a_block_computed_is_judged_outside(
    changes: dict[str, NDArray[Any]], problem: str
) -> None:
    same = np.ones((3, 8), np.float32)
    honest = {"y": same, "again": same, "changed": same, "into_x": same, "alone": same[:1]}
    report = check_block("", Answering(**{**honest, **changes}), width=8, kind="vector")
    assert report.accepted == (problem == "")
    assert problem in " ".join(report.problems)


def test_source_that_is_not_allowed_is_refused_before_anything_runs(sandbox: Sandbox) -> None:
    report = check_block("import os\n" + GOOD, sandbox, width=8, kind="vector")
    assert "import of 'os' is not allowed" in report.problems[0]
    assert report.seconds == 0.0
