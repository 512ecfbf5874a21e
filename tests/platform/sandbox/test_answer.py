"""Answers of programs: what is well formed is read, everything else is refused."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from agenticrs.platform.sandbox import answer
from agenticrs.platform.sandbox.errors import (
    MalformedResult,
    OutOfMemory,
    ProgramFailed,
    RefusedImport,
    SandboxError,
)
from agenticrs.platform.sandbox.inside.program import HEADER


def framed(told: Any, tensors: bytes = b"") -> bytes:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    return HEADER.pack(len(text), len(tensors)) + text + tensors


def test_tensors_and_values_come_back() -> None:
    sent = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "seen": np.array([True])}
    tensors, values = answer.read(framed({"values": {"n": [1, 2.5, None, "é"]}}, save(sent)))
    assert values == {"n": [1, 2.5, None, "é"]}
    assert set(tensors) == set(sent)
    np.testing.assert_array_equal(tensors["a.weight"], sent["a.weight"])


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[1]",
        b"{}",
        b'{"values": NaN}',
        b'{"values": -Infinity}',
        b'{"values": 1e999}',
        b'{"values": "\\ud800"}',
        b'{"values": 1, "more": 2}',
        b'{"values": 1} {"values": 2}',
        b'{"values": ' + b"[" * 17 + b"]" * 17 + b"}",
        b'{"values": ' + b"[" * 100_000,
        b'{"values": ' + b"1" * 10_000 + b"}",
        b"\xff\xfe",
        b'{"failed": 3}',
        b'{"failed": {"kind": ["memory"]}}',
        pickle.dumps({"values": 1}),
    ],
)
def test_json_that_is_more_than_plain_values_is_refused(told: bytes) -> None:
    with pytest.raises(MalformedResult):
        answer.read(framed(told))


@pytest.mark.parametrize(
    "tensors",
    [
        b"no tensors",
        pickle.dumps(np.zeros(3)),
        save({"a": np.array([1.0, np.nan])}),
        save({"a": np.array([np.inf], np.float32)}),
        save({"../../etc/passwd": np.zeros(1)}),
        save({"a" * 200: np.zeros(1)}),
        save({"a": np.zeros(1, np.float16)}),
        save({"a": np.zeros((1,) * 9)}),
        save({"a": np.zeros(2, np.uint8)}).replace(b'"U8"', b'"BOOL"')[:-1] + b"\x07",
        save({"a": np.zeros(4)})[:-1],
        save({"a": np.zeros(4)}) + b"\0",
        save({str(n): np.zeros(0) for n in range(5000)}),
    ],
)
def test_tensors_that_are_not_plain_finite_numbers_are_refused(tensors: bytes) -> None:
    with pytest.raises(MalformedResult):
        answer.read(framed({"values": 1}, tensors))


@pytest.mark.parametrize("extra", [b"", b"x", b"x" * 16])
def test_lengths_must_be_exact(extra: bytes) -> None:
    good = framed({"values": 1})
    with pytest.raises(MalformedResult):
        answer.read((good + extra) if extra else good[:-1])


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("memory", OutOfMemory),
        ("import", RefusedImport),
        ("answer", MalformedResult),
        ("error", ProgramFailed),
        ("what?", ProgramFailed),
    ],
)
def test_a_reported_failure_becomes_an_error_of_its_kind(
    kind: str, error: type[SandboxError]
) -> None:
    with pytest.raises(error, match="it broke"):
        answer.read(framed({"failed": {"kind": kind, "message": "it broke", "trace": ""}}))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error_of_the_sandbox(data: bytes) -> None:
    for message in (data, framed(data), framed({"values": 1}, data)):
        with suppress(SandboxError):
            answer.read(message)
