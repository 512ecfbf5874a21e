"""In which numbers trainings multiply: by the device, or as the settings say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Budget
from agenticrs.agents.contract import small_log
from agenticrs.agents.precision import has_bfloat16, in_bfloat16
from agenticrs.agents.ranking.dcn import DcnConfig, DcnV2
from agenticrs.agents.side_by_side import train_alone, train_together

SMALL: dict[str, dict[str, Any]] = {
    "sasrec": {"batch_size": 16, "embedding_size": 8},
    "two_tower": {"embedding_size": 8, "hidden": 8, "loss": "sampled", "negatives": 8},
    "dcn": {"embedding_size": 8, "deep": 8},
    "din": {"embedding_size": 8, "hidden": 8},
    "towers": {"embedding_size": 8, "hidden": 8},
    "ple": {"embedding_size": 8, "hidden": 8},
}
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("able", "found"),
    [
        ({"avx2": True}, False),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ],
)
def test_a_processor_is_taken_at_its_instructions(
    able: dict[str, bool], found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert has_bfloat16(CPU) is found
    assert in_bfloat16("auto", CPU) is found
    assert in_bfloat16("bfloat16", CPU)
    assert not in_bfloat16("float32", CPU)


@pytest.mark.parametrize("able", [True, False])
def test_a_gpu_that_would_only_imitate_it_is_not_asked(
    able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or able,
    )
    assert in_bfloat16("auto", GPU) is able


def trained(name: str, precision: str) -> tuple[dict[str, Tensor], list[float]]:
    losses: list[float] = []
    config = {**SMALL[name], "epochs": 2, "precision": precision}
    agent = catalogue.build(name, config, seed=3)
    agent.fit(small_log(), Budget(loss=losses.append))
    return agent.state(), losses


@pytest.mark.parametrize("name", SMALL)
def test_sequences_and_rankers_train_in_either(name: str) -> None:
    exact, exact_losses = trained(name, "float32")
    rough, rough_losses = trained(name, "bfloat16")
    assert rough_losses != exact_losses, "it is another training"
    assert rough_losses == pytest.approx(exact_losses, rel=0.02)
    assert all(weight.dtype == exact[key].dtype for key, weight in rough.items())
    auto, _ = trained(name, "auto")
    meant = rough if has_bfloat16(CPU) else exact
    assert all(torch.equal(weight, meant[key]) for key, weight in auto.items())


def test_a_stack_trains_in_it_too() -> None:
    config = DcnConfig(embedding_size=4, deep=8, negatives=5, batch_size=64, precision="bfloat16")
    together, alone = (
        DcnV2.courses([DcnV2(config, seed=seed) for seed in range(2)], small_log())
        for _ in range(2)
    )
    assert train_together(together, Budget()) == [None, None]
    for ours, theirs in zip(together, alone, strict=True):
        train_alone(theirs, Budget())
        example = next(ours.examples())
        torch.testing.assert_close(ours.loss(example), theirs.loss(example), atol=0.02, rtol=0.02)
