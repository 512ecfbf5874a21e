"""A program of ours in the sandbox, beside code that nobody has read, for many requests.

The child is started when it is first needed. After a request that came to nothing by more than an
error that the program raised (too late, killed, too much or nonsense said) no child is left, and
the next request starts a new one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from agenticrs.platform.sandbox import answer
from agenticrs.platform.sandbox.answer import Arrays
from agenticrs.platform.sandbox.child import Listening
from agenticrs.platform.sandbox.errors import MalformedResult
from agenticrs.platform.sandbox.inside.program import HEADER

START_SECONDS = 180.0
"""How much longer the first call of a child may take: it loads libraries, on a busy machine."""
Answer = tuple[dict[str, NDArray[Any]], Any]


@dataclass(frozen=True)
class Call:
    """A function by name, the tensors and the JSON value that it gets."""

    function: str
    tensors: Arrays
    arguments: Any = None


def encoded(
    call: Call,
    *,
    host: str | None = None,
    modules: Mapping[str, str] | None = None,
    imports: tuple[str, ...] | None = (),
) -> bytes:
    """A call as a request: ``modules`` are executed first, then the function is called.

    It is looked up in ``host``, a module that can be imported in the child, or in the last of the
    modules. ``imports`` is what they may import (None: everything).
    """
    told = {
        **{"modules": modules or {}, "imports": imports, "host": host},
        **{"function": call.function, "arguments": call.arguments},
    }
    text = json.dumps(told).encode()
    plain = {name: np.ascontiguousarray(array) for name, array in call.tensors.items()}
    data = save(plain) if plain else b""
    return HEADER.pack(len(text), len(data)) + text + data


def size_of(begin: bytes) -> int | None:
    """How long an answer is that begins so; None when these bytes do not say it yet."""
    return HEADER.size + sum(HEADER.unpack_from(begin)) if len(begin) >= HEADER.size else None


class Session:
    """One child at a time; safe to be used from several threads, which then wait for each other.

    ``opening`` is the first request of every child: its modules, and what it needs to know.
    """

    def __init__(self, start: Callable[[], Listening], host: str, opening: bytes) -> None:
        self._start, self._host, self._opening = start, host, opening
        self._child: Listening | None = None
        self._lock = threading.Lock()

    def call(self, call: Call) -> Answer:
        """Let the host's function answer. Raises each of the errors in ``errors``."""
        with self._lock:
            child = self._listening()
            said = child.answer(encoded(call, host=self._host))
            try:
                return answer.read(said)
            except MalformedResult:  # what it says next would be no better
                child.close()
                raise

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            if self._child is not None:
                self._child.close()

    def _listening(self) -> Listening:
        if self._child is None or self._child.ended:
            if self._child is not None:
                self._child.close()
            self._child = self._start()
            try:
                answer.read(self._child.answer(self._opening, START_SECONDS))
            except BaseException:
                self._child.close()
                raise
        return self._child
