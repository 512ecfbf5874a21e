"""Trust in users that a model plays: from held-out pages, with answers of which all is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from agenticrs.agents.simulation.choice import offered
from agenticrs.agents.simulation.role_play import examination
from agenticrs.agents.simulation.role_play.asking import Asker, Limits
from agenticrs.agents.simulation.role_play.examination import Examined, examined
from agenticrs.agents.simulation.role_play.form import Form
from agenticrs.agents.simulation.world import Study
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.llm.answers import KeptAnswers
from agenticrs.platform.llm.port import Completion, Message, Schema, Unreachable, Usage
from agenticrs.platform.llm.spending import Purse

N = 40
SEED = 0
Entries = list[dict[str, Any]]


class Scripted:
    """Answers by the titles of a page; away after so many questions."""

    name = "scripted"

    def __init__(self, says: Callable[[tuple[str, ...]], Entries], *, most: int = 1000) -> None:
        self._says, self._most, self.asked = says, most, 0

    def complete(
        self, messages: Sequence[Message], schema: Schema, *, max_tokens: int, timeout: float
    ) -> Completion:
        self.asked += 1
        if self.asked > self._most:
            raise Unreachable("nobody is there")
        titles = tuple(
            json.loads(f'"{t}"') for t in re.findall(r'"title": "([^"]*)"', page(messages))
        )
        body = {"entries": self._says(titles), "feeling": "", "satisfaction": 5, "leaves_after": 0}
        return Completion(body, "said", Usage(1, 1, 0.0))


def page(messages: Sequence[Message]) -> str:
    """The part of the question that holds the page."""
    return messages[1].text.split("# The page")[1]


@pytest.fixture(scope="module")
def truth(fitted: Study, dataset: Dataset) -> dict[tuple[str, ...], Entries]:
    """What the users of the examination really did, by the titles of their pages."""
    users, shown, _ = examination._pages(offered(fitted, 1, SEED, size=10), N, SEED)
    log, told = fitted.heldout(), {}
    for user, items in zip(users.tolist(), shown.tolist(), strict=True):
        entries = []
        for place, item in enumerate([i for i in items if i >= 0], 1):
            row = int(((log.user == user) & (log.item == item)).nonzero()[0, 0])
            flags = zip(fitted.world.signals.reactions, log.reactions[row].tolist(), strict=True)
            done = {"watched": float(log.amount[row]), "reactions": [n for n, on in flags if on]}
            entries.append({"place": place, "thought": "", **done})
        told[tuple(dataset.item_titles[i] for i in items if i >= 0)] = entries
    return told


def tried(
    fitted: Study, dataset: Dataset, model: Scripted, **kept: Any
) -> tuple[Examined, Examined]:
    asker = Asker(model, Purse(), Form(fitted.world.signals), limits=Limits(at_once=1), **kept)
    return examined(fitted, dataset, asker, N, SEED)


def test_who_plays_users_as_they_are_is_trusted_more_than_the_fitted_response(
    fitted: Study, dataset: Dataset, truth: dict[tuple[str, ...], Entries]
) -> None:
    played, usual = tried(fitted, dataset, Scripted(truth.__getitem__))
    parts = played.trust.parts
    assert played.users == len(truth)
    assert played.items == sum(map(len, truth.values())) > N
    assert parts["choice"] == pytest.approx(1.0)
    assert parts["response"] == pytest.approx(1.0, abs=0.02)
    assert parts["items"] == pytest.approx(1.0, abs=0.02)
    assert played.trust.score > usual.trust.score
    assert 0 < usual.items <= played.items
    assert (parts["visits"], parts["sequence"], parts["ordering"]) == (None, None, None)


def test_who_takes_what_users_left_is_not_trusted(
    fitted: Study, dataset: Dataset, truth: dict[tuple[str, ...], Entries]
) -> None:
    name = fitted.world.signals.positive.behaviour

    def contrary(titles: tuple[str, ...]) -> Entries:
        return [
            {**one, "reactions": [] if name in one["reactions"] else [name], "watched": 0.5}
            for one in truth[titles]
        ]

    played, usual = tried(fitted, dataset, Scripted(contrary))
    assert played.trust.parts["choice"] == 0.0
    assert played.trust.score < usual.trust.score


def test_pages_that_the_model_did_not_decide_tell_nothing_about_it(
    fitted: Study, dataset: Dataset, truth: dict[tuple[str, ...], Entries]
) -> None:
    played, usual = tried(fitted, dataset, Scripted(truth.__getitem__, most=9))
    assert (played.users, usual.users) == (9, 9)
    nobody, _ = tried(fitted, dataset, Scripted(truth.__getitem__, most=0))
    assert (nobody.users, nobody.items) == (0, 0)
    assert set(nobody.trust.parts.values()) == {None}


def test_an_examination_that_was_paid_for_is_repeated_at_no_cost(
    fitted: Study, dataset: Dataset, truth: dict[tuple[str, ...], Entries], tmp_path: Path
) -> None:
    kept = KeptAnswers(tmp_path)
    first = tried(fitted, dataset, Scripted(truth.__getitem__), kept=kept)
    nobody = Scripted(truth.__getitem__, most=0)
    again = tried(fitted, dataset, nobody, kept=kept)
    assert nobody.asked == 0
    assert again == first


def test_nobody_is_examined_on_what_the_response_was_taught(fitted: Study) -> None:
    users, shown, wanted = examination._pages(offered(fitted, 1, SEED, size=10), N, SEED)
    assert set(fitted.group[users].tolist()) == {2}
    assert bool((wanted.sum(1) * 2 == (shown >= 0).sum(1)).all())
    later = set(zip(fitted.later.user.tolist(), fitted.later.item.tolist(), strict=True))
    pairs = zip(users.tolist(), shown.tolist(), strict=True)
    assert all((user, item) in later for user, items in pairs for item in items if item >= 0)
    assert not torch.equal(wanted, wanted.sort(1, descending=True).values), "in random order"
