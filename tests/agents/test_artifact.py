from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from agenticrs.agents.agent import Agent, Budget
from agenticrs.agents.artifact import HEADER, WEIGHTS, pack, unpack
from agenticrs.agents.fusion.reciprocal_rank import (
    ReciprocalRankFusion,
    ReciprocalRankFusionConfig,
)
from agenticrs.agents.reranking.mmr import Mmr, MmrConfig
from agenticrs.agents.training_data import TrainingData
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import AgentError


@pytest.fixture
def files(fold: Fold) -> dict[str, bytes]:
    agent = Mmr(MmrConfig(trade_off=0.6), seed=9)
    agent.fit(TrainingData.of(fold.dataset), Budget())
    return pack(agent, ["bpr"])


def edited(files: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    header = {**json.loads(files[HEADER]), **changes}
    return {**files, HEADER: json.dumps(header).encode()}


def test_an_agent_comes_back_from_memory_and_from_a_folder(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for agent in (unpack({**files, "MLmodel": b"x"}), unpack(tmp_path)):
        assert isinstance(agent, Mmr)
        assert agent.config == MmrConfig(trade_off=0.6)
        assert (agent.seed, agent.n_users, agent.n_items) == (9, 60, 40)
        assert torch.equal(agent.vectors, load(files[WEIGHTS])["vectors"])


def test_only_safetensors_and_json_are_written(files: dict[str, bytes]) -> None:
    assert set(files) == {"weights.safetensors", "agent.json"}
    header = json.loads(files[HEADER])
    assert header["input_names"] == ["bpr"]
    assert header["spec"]["role"] == "reranking"


def test_an_agent_without_weights_has_files_too() -> None:
    agent: Agent[ReciprocalRankFusionConfig] = ReciprocalRankFusion(
        ReciprocalRankFusionConfig(weights={"bpr": 0.5})
    )
    again = unpack(pack(agent, ["bpr", "ease"]))
    assert again.config == agent.config


@pytest.mark.parametrize(
    "changes", [{"n_items": 41}, {"config": {"trade_off": 0.1, "depth": 50}}, {"seed": 1}]
)
def test_an_edited_header_is_refused(files: dict[str, bytes], changes: dict[str, object]) -> None:
    with pytest.raises(AgentError, match="not the one its weights were saved with"):
        unpack(edited(files, **changes))


def test_weights_of_another_version_are_refused(files: dict[str, bytes], fold: Fold) -> None:
    other = Mmr(MmrConfig(trade_off=0.7))
    other.fit(TrainingData.of(fold.dataset), Budget())
    with pytest.raises(AgentError, match="not the one"):
        unpack({**files, WEIGHTS: pack(other)[WEIGHTS]})


def test_weights_of_another_shape_are_refused(files: dict[str, bytes]) -> None:
    length = int.from_bytes(files[WEIGHTS][:8], "little")
    metadata = json.loads(files[WEIGHTS][8 : 8 + length])["__metadata__"]
    smaller = save({"vectors": torch.zeros(3, 4)}, metadata=metadata)
    with pytest.raises(AgentError, match=r"shapes .*\[3, 4\].*expected .*\[40, 4\]"):
        unpack({**files, WEIGHTS: smaller})


def test_missing_and_damaged_files_are_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(AgentError, match=r"no file agent\.json"):
        unpack(tmp_path)
    with pytest.raises(AgentError, match=r"no file weights\.safetensors"):
        unpack({HEADER: files[HEADER]})
    with pytest.raises(AgentError, match="damaged"):
        unpack({**files, WEIGHTS: files[WEIGHTS][:-5]})
    with pytest.raises(AgentError, match="damaged"):
        unpack({**files, WEIGHTS: b"\x80\x04pickle"})
    with pytest.raises(AgentError, match=r"agent\.json is damaged"):
        unpack({**files, HEADER: b"{"})
