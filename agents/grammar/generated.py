"""Blocks that somebody wrote as a Python module: whether one keeps its contract.

The contract is that of ``document.Generated``. The block runs in the sandbox only; what it computed
is judged out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agenticrs.agents.grammar.document import Architecture, most_weights
from agenticrs.agents.grammar.shapes import infer
from agenticrs.platform.errors import AgentError
from agenticrs.platform.sandbox.confinement import Confinement
from agenticrs.platform.sandbox.errors import SandboxError, SandboxUnavailable
from agenticrs.platform.sandbox.limits import Limits
from agenticrs.platform.sandbox.sandbox import Sandbox

_CHECKING = Limits(seconds=180.0)
"""A minute of processor time, on a machine that is busy with trials."""
_ROWS, _PLACES = 3, 7
_CUT = 4
"""Places from here on differ between the two sequences that are compared."""

_PROBE = """
import torch
from block import Block


def probe(tensors, arguments):
    torch.manual_seed(arguments["seed"])
    block = Block(arguments["width"]).eval()
    x = tensors["x"].clone().requires_grad_()
    y = block(x)
    (y * y).sum().backward()
    found = {"y": y, "into_x": torch.zeros_like(x) if x.grad is None else x.grad}
    missing = []
    for name, weight in block.named_parameters():
        if weight.grad is None:
            missing.append(name)
        else:
            found["grad." + name] = weight.grad
    with torch.no_grad():
        found["again"] = block(tensors["x"])
        found["changed"] = block(tensors["changed"])
        found["alone"] = block(tensors["x"][:1])
    return found, {
        "parameters": sum(weight.numel() for weight in block.parameters()),
        "unused": missing[:20],
    }
"""


@dataclass(frozen=True)
class BlockReport:
    """What a trial run of a block has shown. ``problems`` is empty when it may be used."""

    problems: tuple[str, ...]
    parameters: int = 0
    """As the block says: a claim, like everything that untrusted code computes."""
    seconds: float = 0.0
    peak_memory: int = 0

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems


@cache
def confinement() -> Confinement:
    """What this machine can do to confine a block, asked once."""
    return Sandbox.detect()


def sandbox_here(limits: Limits | None = None, project: Sequence[str] = ()) -> Sandbox:
    """A sandbox on this machine, whose children can read these folders of the project.

    Raises SandboxUnavailable where nothing can be confined.
    """
    return Sandbox(limits, confinement=confinement(), project=project)


def check_document(document: Architecture) -> BlockReport | None:
    """The report on its generated block, as it would be built; None where there is none.

    Raises AgentError with the problems of a block that may not be used, and SandboxUnavailable.
    """
    block = document.generated
    if block is None:
        return None
    shape = infer(document)[block.name]
    kind: Literal["sequence", "vector"] = "sequence" if shape.kind == "sequence" else "vector"
    report = check_block(block.source, sandbox_here(_CHECKING), width=shape.width, kind=kind)
    if not report.accepted:
        raise AgentError(f"block {block.name!r} (generated): {'; '.join(report.problems)}")
    return report


def check_block(
    source: str, sandbox: Sandbox, *, width: int, kind: Literal["sequence", "vector"], seed: int = 0
) -> BlockReport:
    """Build the block, run it forwards and backwards on random numbers, and look for the future.

    A block that fails in any way has problems in its report, not an exception; SandboxUnavailable
    is raised where nothing can be run. It finds mistakes, not malice: a block could behave for the
    check only. What a block is worth must be measured outside, on rows that it never gets.
    """
    random = np.random.default_rng(seed)
    shape = (_ROWS, _PLACES, width) if kind == "sequence" else (_ROWS, width)
    x = random.standard_normal(shape, dtype=np.float32)
    changed = x.copy()
    if kind == "sequence":
        changed[:, _CUT:] = random.standard_normal(changed[:, _CUT:].shape, dtype=np.float32)
    try:
        result = sandbox.run(
            _PROBE,
            "probe",
            {"x": x, "changed": changed},
            {"width": width, "seed": seed},
            beside={"block": source},
        )
    except SandboxUnavailable:
        raise
    except SandboxError as error:
        return BlockReport((f"{type(error).__name__}: {error.message}",))
    problems = _problems(result.tensors, result.values, shape, causal=kind == "sequence")
    claimed = result.values.get("parameters") if isinstance(result.values, dict) else None
    parameters = claimed if isinstance(claimed, int) else 0
    if not 0 <= parameters <= most_weights(width):
        problems.append(f"it holds {parameters} weights, at most {most_weights(width)} may be")
    return BlockReport(tuple(problems), parameters, result.seconds, result.peak_memory)


def _problems(
    found: dict[str, NDArray[Any]], values: Any, shape: tuple[int, ...], *, causal: bool
) -> list[str]:
    wanted = {
        "y": shape,
        "again": shape,
        "changed": shape,
        "into_x": shape,
        "alone": (1, *shape[1:]),
    }
    for name, expected in wanted.items():
        if name not in found or found[name].shape != expected or found[name].dtype != np.float32:
            got = f"{found[name].dtype} {found[name].shape}" if name in found else "nothing"
            return [f"forward of float32 {expected} must return the same, got {got}"]
    problems = []
    if not _alike(found["y"], found["again"]):
        problems.append("the same input gives different outputs in evaluation")
    if not _alike(found["y"][:1], found["alone"]):
        problems.append("the output for one row depends on the other rows")
    if causal and not _alike(found["y"][:, :_CUT], found["changed"][:, :_CUT]):
        problems.append("a place of the sequence sees places after it")
    if not found["into_x"].any():
        problems.append("no gradient reaches the input")
    unused = values.get("unused") if isinstance(values, dict) else None
    if unused:
        problems.append(f"weights without a gradient: {str(unused)[:200]}")
    return problems


def _alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-5))
