from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticrs.evolution.methods.policy_actions import Actions
from agenticrs.platform.errors import EvolutionError
from agenticrs.registry.spec import Choice, FloatRange, IntRange

SPACE = (
    FloatRange(name="rate", low=1e-4, high=1e-1, log=True),
    FloatRange(name="dropout", low=0.0, high=0.5),
    IntRange(name="width", low=8, high=256, log=True),
    IntRange(name="layers", low=1, high=4),
    Choice(name="loss", values=("softmax", "bpr")),
    Choice(name="agreement", values=(False, True)),
)
POINT: dict[str, Any] = {
    "rate": 1e-2,
    "dropout": 0.5,
    "width": 64,
    "layers": 1,
    "loss": "bpr",
    "agreement": False,
}


@given(
    st.fixed_dictionaries(
        {
            "rate": st.floats(1e-4, 1e-1),
            "dropout": st.floats(0.0, 0.5),
            "width": st.integers(8, 256),
            "layers": st.integers(1, 4),
            "loss": st.sampled_from(("softmax", "bpr")),
            "agreement": st.booleans(),
        }
    )
)
def test_a_point_comes_back_from_its_row(point: dict[str, Any]) -> None:
    actions = Actions(SPACE)
    row = actions.row(point)
    assert row is not None
    assert len(row) == actions.width
    assert all(0 <= place <= 1 for place in row)
    back = actions.values(row)
    for name in ("rate", "dropout"):
        assert back.pop(name) == pytest.approx(point.pop(name), rel=1e-6, abs=1e-9)
    assert back == point


def test_every_integer_has_a_stretch_of_the_axis_of_the_same_length() -> None:
    actions = Actions((IntRange(name="layers", low=1, high=4),))
    hits = [actions.values((place / 1000,))["layers"] for place in range(1000)]
    assert [hits.count(n) for n in (1, 2, 3, 4)] == pytest.approx([250] * 4, abs=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0.2},
        {"rate": float("nan")},
        {"rate": None},
        {"layers": 0},
        {"layers": True},
        {"loss": "hinge"},
        {"agreement": 0},
    ],
)
def test_what_lies_outside_the_space_has_no_row(wrong: dict[str, Any]) -> None:
    assert Actions(SPACE).row({**POINT, **wrong}) is None


def test_more_parameters_than_the_space_has_do_not_matter_and_fewer_do() -> None:
    actions = Actions(SPACE)
    assert actions.row({**POINT, "epochs": 3}) == actions.row(POINT)
    assert actions.row({"rate": 1e-2}) is None


def test_the_fingerprint_knows_what_a_space_is_and_not_in_what_order() -> None:
    assert Actions(SPACE).fingerprint == Actions(SPACE[::-1]).fingerprint
    wider = (FloatRange(name="rate", low=1e-4, high=1.0, log=True), *SPACE[1:])
    assert Actions(wider).fingerprint != Actions(SPACE).fingerprint


def test_a_space_without_parameters_is_refused() -> None:
    with pytest.raises(EvolutionError, match="parameters"):
        Actions(())
