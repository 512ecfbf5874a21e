"""Runs the program in a process that is confined already, and writes down its answers.

A request is two lengths, a JSON object and a safetensors file; so is an answer. One follows the
other until there is no more to read. Programs may import what the request allows: a guard against
mistakes, for the process cannot do harm in any case.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import struct
import sys
import traceback
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

HEADER = struct.Struct("<QQ")
"""Bytes of JSON, bytes of tensors."""

FAILURES = ("error", "memory", "import", "answer")
MAIN = "program"
"""Name of the module that holds the called function."""

_WITHHELD = ("open", "exec", "eval", "compile", "input", "breakpoint", "help", "exit", "quit")


class NotAllowedHere(ImportError):
    """The program wants a module that it may not have."""


def run(python: Sequence[str], reply: int) -> NoReturn:
    """Answer each request from stdin on ``reply``, then end the process."""
    sys.path.extend(python)
    with os.fdopen(0, "rb") as requests:
        while header := requests.read(HEADER.size):
            n_json, n_tensors = HEADER.unpack(header)
            answer = _answered(requests.read(n_json), requests.read(n_tensors))
            for part in (HEADER.pack(len(answer[0]), len(answer[1])), *answer):
                view = memoryview(part)
                while view:
                    view = view[os.write(reply, view) :]
        os._exit(0)


def _answered(text: bytes, data: bytes) -> tuple[bytes, bytes]:
    try:
        request, tensors = json.loads(text), _loaded(data)
        _execute(request["modules"], request["imports"])
        host = importlib.import_module(request["host"] or MAIN)
        answer = _answer(getattr(host, request["function"])(tensors, request["arguments"]))
    except BaseException as error:  # whatever it is, it is the program's answer
        answer = _failure(error)
    sys.stdout.flush()
    return answer


def _loaded(data: bytes) -> dict[str, Any]:
    if not data:
        return {}
    from safetensors.torch import load

    return load(data)


def _execute(sources: Mapping[str, str], imports: Sequence[str] | None) -> None:
    """Execute modules in order."""
    allowed = None if imports is None else {*imports, *sources}
    for module, source in sources.items():
        made = ModuleType(module)
        if allowed is not None:
            made.__dict__["__builtins__"] = _few_builtins(allowed)
        sys.modules[module] = made
        exec(compile(source, f"<{module}>", "exec"), made.__dict__)  # noqa: S102 (what it is for)


def _few_builtins(allowed: set[str]) -> dict[str, Any]:
    def guarded(name: str, *rest: Any, **named: Any) -> Any:
        if name not in allowed:
            raise NotAllowedHere(f"import of {name!r} is not allowed")
        return builtins.__import__(name, *rest, **named)

    few = {name: value for name, value in vars(builtins).items() if name not in _WITHHELD}
    return {**few, "__import__": guarded}


def _answer(returned: Any) -> tuple[bytes, bytes]:
    try:
        tensors, values = returned
        text = json.dumps({"values": values}, allow_nan=False).encode()
        plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        if not plain:
            return text, b""
        from safetensors.torch import save

        return text, save(plain)
    except MemoryError:
        raise
    except Exception as error:
        return _described("answer", f"{type(error).__name__}: {error}", "")


def _failure(error: BaseException) -> tuple[bytes, bytes]:
    text = f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error)[-20:])
    if isinstance(error, NotAllowedHere):
        return _described("import", str(error), trace)
    # torch has no error of its own for a full memory of the CPU.
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return _described("memory", text, trace)
    return _described("error", text, trace)


def _described(kind: str, message: str, trace: str) -> tuple[bytes, bytes]:
    failed = {"kind": kind, "message": message[:2000], "trace": trace[-8000:]}
    return json.dumps({"failed": failed}).encode(), b""
