"""Blocks of generated code: what the check in the sandbox finds."""

from __future__ import annotations

import pytest

from agenticrs.agents.grammar.generated import check_block
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.sandbox import Sandbox

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
        ("return self.mix(x)[..., :4]", "must return the same"),
        ("return x + torch.rand(x.shape[-1]) * self.mix(x)", "different outputs"),
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


def test_source_that_is_not_allowed_is_refused_before_anything_runs(sandbox: Sandbox) -> None:
    report = check_block("import os\n" + GOOD, sandbox, width=8, kind="vector")
    assert "import of 'os' is not allowed" in report.problems[0]
    assert report.seconds == 0.0
