"""An agent as files and back: ``weights.safetensors`` and ``agent.json``, nothing executable.

(A document with a generated block holds its source as text, which only the sandbox executes.)

``agent.json`` says what is needed to build the agent again; the weights carry its hash, so that
one cannot be changed, or mixed up with another version's, without the other. Knows nothing of
MLflow: it reads bytes or a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from agenticrs.agents import catalogue
from agenticrs.agents.agent import Agent
from agenticrs.platform.errors import AgentError

WEIGHTS = "weights.safetensors"
HEADER = "agent.json"


class ArtifactHeader(BaseModel):
    """What ``agent.json`` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = 1
    name: str
    config: dict[str, Any]
    seed: int
    n_users: int
    n_items: int
    input_names: tuple[str, ...] = ()
    """Agents that fed this one when it was fitted, in order."""
    spec: dict[str, Any]
    shapes: dict[str, list[int]]
    """Shape of every tensor among the weights."""


def pack(agent: Agent[Any], input_names: Sequence[str] = ()) -> dict[str, bytes]:
    """The files of a fitted agent, by name."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in agent.state().items()}
    header = ArtifactHeader(
        name=agent.spec.name,
        config=agent.config.model_dump(mode="json"),
        seed=agent.seed,
        n_users=agent.n_users,
        n_items=agent.n_items,
        input_names=tuple(input_names),
        spec=agent.spec.model_dump(mode="json"),
        shapes={name: list(tensor.shape) for name, tensor in state.items()},
    )
    text = json.dumps(header.model_dump(mode="json"), indent=1, sort_keys=True).encode()
    return {WEIGHTS: save(state, metadata={"header": _digest(text)}), HEADER: text}


def unpack(source: Path | Mapping[str, bytes], device: str = "cpu") -> Agent[Any]:
    """The agent in a folder, or in files by name (others among them are ignored), ready to act.

    Raises AgentError when a file is missing or damaged, the header doesn't belong to the weights,
    the agent isn't installed, it refuses the config, or the weights have other shapes.
    """
    text, weights = _read(source, HEADER), _read(source, WEIGHTS)
    try:
        header = ArtifactHeader.model_validate_json(text)
    except ValidationError as error:
        raise AgentError(f"{HEADER} is damaged: {error.errors()[0]['msg']}") from error
    if header.format != 1:
        raise AgentError(f"{HEADER} has format {header.format}, this release reads format 1")
    if _metadata(weights).get("header") != _digest(text):
        raise AgentError(
            f"{HEADER} of agent {header.name!r} is not the one its weights were saved with",
            hint="it was edited, or the files are of two versions: fetch the version again",
        )
    agent = catalogue.build(header.name, header.config, seed=header.seed, device=device)
    agent.load(_tensors(weights, header), n_users=header.n_users, n_items=header.n_items)
    agent.input_names(header.input_names)
    return agent


def _read(source: Path | Mapping[str, bytes], name: str) -> bytes:
    try:
        return (source / name).read_bytes() if isinstance(source, Path) else source[name]
    except (OSError, KeyError) as error:
        raise AgentError(f"the version has no file {name}") from error


def _tensors(weights: bytes, header: ArtifactHeader) -> dict[str, Tensor]:
    try:
        state = load(weights)
    except SafetensorError as error:
        raise AgentError(f"{WEIGHTS} of agent {header.name!r} is damaged: {error}") from error
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    if shapes != header.shapes:
        raise AgentError(
            f"weights of agent {header.name!r} have shapes {shapes}, expected {header.shapes}"
        )
    return state


def _metadata(weights: bytes) -> dict[str, str]:
    """The free text in a safetensors file: 8 bytes of length, then JSON."""
    try:
        length = int.from_bytes(weights[:8], "little")
        found: dict[str, str] = json.loads(weights[8 : 8 + length]).get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise AgentError(f"{WEIGHTS} is damaged: its header cannot be read") from error
    return found


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
