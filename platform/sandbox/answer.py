"""What comes back from a program: read as if an enemy had written it, for one may have.

Lengths, a JSON object and a safetensors file. Nothing in it is executed or unpickled, and it holds
claims of the program only: time and memory are measured from outside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from agenticrs.platform.sandbox.errors import (
    MalformedResult,
    OutOfMemory,
    ProgramFailed,
    RefusedImport,
)
from agenticrs.platform.sandbox.inside.program import HEADER

_DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "I64": np.int64, "I32": np.int32},
    **{"U8": np.uint8, "BOOL": np.bool_},
}
_NAME = re.compile(r"[A-Za-z0-9_.@]{1,128}")
_MOST_TENSORS = 4096
_MOST_DIMENSIONS = 8
_DEEPEST = 16

Arrays = Mapping[str, NDArray[Any]]


def read(answer: bytes) -> tuple[dict[str, NDArray[Any]], Any]:
    """Tensors by name and the JSON value.

    Raises MalformedResult, or the error that the program has reported of itself: ProgramFailed,
    OutOfMemory, RefusedImport.
    """
    if len(answer) < HEADER.size:
        raise MalformedResult("there is no answer")
    n_json, n_tensors = HEADER.unpack_from(answer)
    if HEADER.size + n_json + n_tensors != len(answer):
        raise MalformedResult("the answer is not as long as it says")
    middle = HEADER.size + n_json
    told = _object(answer[HEADER.size : middle])
    if set(told) == {"failed"}:
        _raise(told["failed"])
    if set(told) != {"values"}:
        raise MalformedResult("the answer is neither a result nor a failure")
    return _tensors(answer[middle:]), told["values"]


def _object(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        _refuse_depth(told)
        json.dumps(told, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise MalformedResult(f"the answer's JSON is not acceptable: {error}") from None
    if not isinstance(told, dict):
        raise MalformedResult("the answer is not a JSON object")
    return told


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a finite number")


def _refuse_depth(told: Any) -> None:
    level = [told]
    for _ in range(_DEEPEST):
        level = [
            below
            for value in level
            if isinstance(value, dict | list)
            for below in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_DEEPEST} deep")


def _raise(failed: Any) -> NoReturn:
    if not isinstance(failed, dict) or not all(isinstance(v, str) for v in failed.values()):
        raise MalformedResult("the failure is not described as it should be")
    message = failed.get("message", "")[:2000]
    kind = failed.get("kind")
    if kind == "memory":
        raise OutOfMemory(message or "out of memory")
    if kind == "import":
        raise RefusedImport(message)
    if kind == "answer":
        raise MalformedResult(f"the function must return tensors and JSON: {message}")
    raise ProgramFailed(message, failed.get("trace", "")[:8000])


def _tensors(data: bytes) -> dict[str, NDArray[Any]]:
    if not data:
        return {}
    try:
        parts = deserialize(data)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError) as error:
        raise MalformedResult(f"the answer's tensors are not safetensors: {error}") from None
    if len(parts) > _MOST_TENSORS:
        raise MalformedResult(f"more than {_MOST_TENSORS} tensors")
    return {name: _array(name, **part) for name, part in parts}


def _array(name: str, dtype: str, shape: list[int], data: bytes) -> NDArray[Any]:
    if not _NAME.fullmatch(name):
        raise MalformedResult(f"a tensor is named {name[:50]!r}")
    if dtype not in _DTYPES:
        raise MalformedResult(f"tensor {name!r} has type {dtype}, allowed are {', '.join(_DTYPES)}")
    if len(shape) > _MOST_DIMENSIONS:
        raise MalformedResult(f"tensor {name!r} has more than {_MOST_DIMENSIONS} dimensions")
    array: NDArray[Any] = np.frombuffer(bytes(data), _DTYPES[dtype]).reshape(shape)
    if array.dtype == np.bool_ and (array.view(np.uint8) > 1).any():
        raise MalformedResult(f"tensor {name!r} holds something else than yes and no")
    if not np.isfinite(array).all():
        raise MalformedResult(f"tensor {name!r} holds numbers that are not finite")
    return array
