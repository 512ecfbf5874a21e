from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from agenticrs.agents.simulation.role_play.form import Form, UnfitAnswer
from agenticrs.agents.simulation.signals import Signals
from agenticrs.platform.data.dataset import Positive

WATCHING = Signals(
    measure="watch_ratio",
    reactions=("like", "follow"),
    positive=Positive("watch_time", 1.0),
    shown=True,
    timed=True,
    edges=torch.tensor([0.5]),
    within=torch.tensor([[0.0, 0.5], [0.5, 2.0]]),
)
RATING = Signals(
    measure="rating",
    reactions=(),
    positive=Positive("rating", 4.0),
    shown=False,
    timed=False,
    edges=torch.tensor([1.5, 2.5]),
    within=torch.tensor([[1.0], [2.0], [3.0]]),
)


def answer(*entries: dict[str, Any], **changed: Any) -> dict[str, Any]:
    told = [{"place": place, "thought": "", **entry} for place, entry in enumerate(entries, 1)]
    body = {"entries": told, "feeling": "fine", "satisfaction": 5, "leaves_after": 0}
    return {**body, **changed}


def test_a_feed_is_asked_how_much_was_watched_and_which_reactions_came() -> None:
    entry = Form(WATCHING).schema(2).body["properties"]["entries"]["items"]
    assert set(entry["required"]) == {"place", "thought", "watched", "reactions"}
    assert entry["properties"]["place"]["enum"] == [1, 2]
    watched = {"watched": 0.7, "reactions": ["follow"]}
    verdict = Form(WATCHING).read(answer(watched, {"watched": 0, "reactions": []}), 2)
    assert verdict.amount == (0.7, 0.0)
    assert verdict.reactions == ((False, True), (False, False))


def test_where_only_what_was_taken_is_known_it_is_asked_whether() -> None:
    entry = Form(RATING).schema(1).body["properties"]["entries"]["items"]
    assert set(entry["required"]) == {"place", "thought", "takes", "rating"}
    assert entry["properties"]["rating"]["enum"] == [1.0, 2.0, 3.0]
    verdict = Form(RATING).read(answer({"takes": False, "rating": 2}), 1)
    assert (verdict.takes, verdict.amount) == ((False,), (2.0,))


def test_clicks_are_taken_or_left() -> None:
    form = Form(replace(RATING, measure="positive", shown=True))
    assert "rating" not in form.schema(1).body["properties"]["entries"]["items"]["properties"]
    assert form.read(answer({"takes": True}), 1).amount == (1.0,)


GOOD = {"watched": 1.0, "reactions": []}


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (answer({"watched": -1, "reactions": []}), "watched is from 0 to 5"),
        (answer({"watched": float("nan"), "reactions": []}), "watched is a number"),
        (answer({"watched": True, "reactions": []}), "watched is a number"),
        (answer({"watched": 1, "reactions": ["buy"]}), "reactions are some of"),
        (answer({"watched": 1, "reactions": "like"}), "reactions are some of"),
        (answer(), "places [1] are missing"),
        (answer(GOOD, GOOD), "a place is none of 1 to 1"),
        (answer(GOOD, entries=[{"place": 1, **GOOD}] * 2), "place 1 comes twice"),
        (answer(GOOD, entries="all"), "a list is wanted"),
        (answer(GOOD, satisfaction=True), "satisfaction: a whole number"),
        (answer(GOOD, leaves_after=2), "leaves_after: a whole number from 0 to 1"),
        (answer(GOOD, feeling=None), "feeling: a text"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_exact_error(
    told: dict[str, Any], error: str
) -> None:
    with pytest.raises(UnfitAnswer) as refused:
        Form(WATCHING).read(told, 1)
    assert any(error in one for one in refused.value.errors)


def test_a_grade_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnfitAnswer, match="one of"):
        Form(RATING).read(answer({"takes": True, "rating": 2.5}), 1)


def test_feelings_are_one_short_line() -> None:
    verdict = Form(WATCHING).read(answer(GOOD, feeling="so\nso " * 200), 1)
    assert "\n" not in verdict.feeling
    assert len(verdict.feeling) <= 160
