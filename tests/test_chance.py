"""What the tests draw by chance: the same on every run, in every order, on every machine."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st


def test_draws_without_a_generator_begin_anew_with_each_test() -> None:
    assert random.random() == random.Random(0).random()
    assert np.random.random() == np.random.RandomState(0).random_sample()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))


def examples() -> list[tuple[int, str]]:
    seen = []

    @settings(settings.get_profile("same"), database=None)
    @given(st.integers(), st.text())
    def looked_at(number: int, text: str) -> None:
        seen.append((number, text))

    looked_at()
    return seen


def test_examples_do_not_depend_on_what_has_been_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = examples()
    file = tmp_path / "constants.py"
    file.write_text(f"NUMBERS = {list(range(12_345, 12_400))}\nWORDS = {list('äöüßéèêç')}\n")
    spec = importlib.util.spec_from_file_location("constants", file)
    assert spec is not None
    monkeypatch.setitem(sys.modules, "constants", importlib.util.module_from_spec(spec))
    assert examples() == before
