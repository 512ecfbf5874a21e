"""A judged world as one file and back: tensors as safetensors, everything else as JSON in its head.

Fitting a world takes seconds to minutes, so it is kept. Nothing in the file is executed, and the
world that is used is always one that was read: what was fitted a moment ago and what was kept give
the same days.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from agenticrs.agents.simulation.judged import JudgedWorld
from agenticrs.platform.errors import DataError

FORMAT = 1
_HEAD = "judged world"


def pack(judged: JudgedWorld) -> bytes:
    """The file of a world and of what is known of its trust."""
    tensors: dict[str, Tensor] = {}
    told = {"format": FORMAT, "judged": _told(judged, "", tensors)}
    return save(tensors, metadata={_HEAD: json.dumps(told, sort_keys=True)})


def unpack(content: bytes) -> JudgedWorld:
    """The world in a file. Raises DataError when it is damaged or of another release."""
    try:
        tensors = load(content)
        told = json.loads(_head(content)[_HEAD])
        if told["format"] != FORMAT:
            raise DataError(f"the world has format {told['format']}, this release reads {FORMAT}")
        world: JudgedWorld = _built(JudgedWorld, told["judged"], tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"the file of a simulated world is damaged: {error}") from error
    return world


def _head(content: bytes) -> dict[str, str]:
    """The free text in a safetensors file: 8 bytes of length, then JSON."""
    size = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    return found


def _told(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON; tensors go to ``tensors`` and leave their name."""
    if isinstance(value, Tensor):
        # A copy each: parts of one tensor cannot be kept as several.
        tensors[path] = value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        return {"tensor": path}
    if is_dataclass(value) and not isinstance(value, type):
        return {
            part.name: _told(getattr(value, part.name), f"{path}.{part.name}".lstrip("."), tensors)
            for part in fields(value)
        }
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_told(part, f"{path}.{place}", tensors) for place, part in enumerate(value)]
    return value


def _built(kind: Any, told: Any, tensors: Mapping[str, Tensor]) -> Any:
    """A value of that kind out of what was told of it."""
    if isinstance(told, dict) and set(told) == {"tensor"}:
        return tensors[told["tensor"]]
    # A dataclass, or one that may be missing.
    made = next((one for one in (kind, *get_args(kind)) if is_dataclass(one)), None)
    if isinstance(told, dict) and isinstance(made, type):
        kinds = get_type_hints(made)
        return made(**{name: _built(kinds[name], part, tensors) for name, part in told.items()})
    if isinstance(told, list):
        inner = (get_args(kind) or (Any,))[0]
        return tuple(_built(inner, part, tensors) for part in told)
    return told
