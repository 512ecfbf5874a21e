"""Curves of training: one line for each candidate that learnt by epochs, the best one marked."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from tests.ui.conftest import Place

from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles, trials
from agenticrs.registry.tables import TrialRow
from agenticrs.ui.console import curves


def row(number: int, curve: Any, *, agent: str = "bpr", reward: float | None = None) -> TrialRow:
    return TrialRow(
        id=number,
        cycle_id=1,
        agent=agent,
        number=number,
        method="tpe",
        state="failed" if reward is None else "done",
        config={},
        seed=0,
        dataset="d",
        fingerprint="f",
        split="s",
        code_version="",
        note={} if curve is None else {"curve": curve},
        reward=reward,
    )


def test_each_candidate_is_a_line_and_the_best_lies_above_them() -> None:
    tried = [
        row(1, [0.9, 0.5, 0.4], reward=0.2),
        row(2, [0.8, 0.3], reward=0.1),
        row(3, [0.7, 0.6]),
    ]
    found = curves.of_training([*tried, row(4, None, agent="ease", reward=0.3)])
    assert list(found) == ["bpr"]
    root = ElementTree.fromstring(found["bpr"])
    lines = [path.attrib["class"] for path in root.iter("path") if "line" in path.attrib["class"]]
    assert lines == ["line epochs", "line epochs", "line best"]
    links = [link.attrib for link in root.iter("a")]
    assert {link["href"] for link in links} == {"#trial-1", "#trial-2", "#trial-3"}
    assert "bpr trial 1: loss 0.4000 after 3 epochs" in [link["aria-label"] for link in links]


def test_a_candidate_that_runs_away_leaves_the_others_their_room() -> None:
    tried = [row(1, [0.7, 0.5, 0.4], reward=0.2), row(2, [0.7, 150.0, 90.0])]
    root = ElementTree.fromstring(curves.of_training(tried)["bpr"])
    heights = sorted(float(c.attrib["cy"]) for c in root.iter("circle"))
    assert heights[1] - heights[0] > 30, "0.4 and what stands for 90 lie far apart"
    shown = [float(t.text or "0") for t in root.iter("text") if "epoch" not in (t.text or "")]
    assert max(shown) < 2


def test_what_is_no_curve_is_no_picture() -> None:
    told: list[Any] = [None, [], [0.4], "falling", [None, "x"], [float("nan"), float("nan")]]
    assert curves.of_training([row(n, one) for n, one in enumerate(told)]) == {}


def test_the_page_of_a_cycle_shows_how_its_candidates_learnt(empty_place: Place) -> None:
    with session_scope(empty_place.engine) as session:
        cycle = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="generated",
            fingerprint="f",
            seed=0,
            request={},
        )
        trials.propose(
            session,
            cycle_id=cycle.id or 0,
            agent="bpr",
            number=0,
            method="tpe",
            config={},
            seed=0,
            dataset="generated",
            fingerprint="f",
            split="s",
            note={"curve": [0.69, 0.4]},
        )
    text = empty_place.logged_in().get(f"/cycles/{cycle.id}").text
    assert "mean loss of each epoch" in text
    assert "bpr trial 0: loss 0.4000 after 2 epochs" in text
