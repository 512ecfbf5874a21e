"""Users of a simulation whose decisions a language model makes; all others decide as fitted.

    players = Players(population, rows, asker, dataset)
    outcome = simulate(population, recommender, days, seed, reader=players.read)
    players.decided()

The rules of the world stay: what is shown, moods, fatigue, histories and coming back are the same
code. A page that the model does not decide (a cap was hit, the answer was unfit, the endpoint is
away) is decided by the fitted response with the luck that it would have had anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents.simulation import page
from agenticrs.agents.simulation.items import Items
from agenticrs.agents.simulation.luck import Question, keys, uniform
from agenticrs.agents.simulation.mind import Mind
from agenticrs.agents.simulation.page import Act, Readers, Reading
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.role_play import words
from agenticrs.agents.simulation.role_play.asking import WHOSE, Asker
from agenticrs.agents.simulation.role_play.form import Verdict
from agenticrs.agents.simulation.role_play.memory import Fact, Feeling, Memory
from agenticrs.agents.simulation.role_play.words import Titles
from agenticrs.agents.simulation.world import World
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.errors import AgentError

_BEFORE = 50
"""Items of the log that a user remembers at the beginning."""


def sampled(population: Population, n: int, seed: int) -> Tensor:
    """Rows of ``n`` users of the population, drawn by a hash of who they are, in order."""
    chance = uniform(keys(seed, population.key, -3), Question.CHARACTER)
    return chance.argsort(stable=True)[:n].sort().values


@dataclass
class _Player:
    """One of these users: who that is, and what is remembered."""

    character: dict[str, Any]
    memory: Memory
    pages: int = 0
    day: int = -1


class Players:
    """The users at ``rows`` of a population, for one simulation: they remember it.

    ``tell`` hears of each page that was asked for. Raises AgentError when two of them cannot be
    told apart.
    """

    def __init__(
        self,
        population: Population,
        rows: Tensor,
        asker: Asker,
        dataset: Dataset,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        own = population.key[rows].tolist()
        if len(set(own)) < len(own):
            raise AgentError("two users that a model plays are the same", hint="name each row once")
        world = population.world
        self._asker, self._tell = asker, tell
        self._titles = Titles.of(dataset, world.items.seconds)
        told = words.characters(world.persona, population.persona.take(rows))
        before = population.histories.take(rows).recent(_BEFORE)
        self._players = {
            key: _Player(character, Memory(facts=self._earlier(items[items >= 0])))
            for key, character, items in zip(own, told, before, strict=True)
        }

    def read(
        self, world: World, items: Items, readers: Readers, shown: Tensor, day: int, seed: int
    ) -> Reading:
        """As ``page.read``, with the model's decisions in the place of the fitted ones."""
        mine = torch.tensor(
            [key in self._players for key in readers.key.tolist()], dtype=torch.bool
        )
        rows = mine.nonzero()[:, 0]
        verdicts = self.verdicts(items, readers, shown, rows, day)
        given = torch.tensor([verdict is not None for verdict in verdicts], dtype=torch.bool)
        played, others = rows[given], torch.ones(len(shown), dtype=torch.bool)
        others[played] = False
        parts = [(others.nonzero()[:, 0], None), (played, [v for v in verdicts if v is not None])]
        readings = []
        for which, own in parts:
            some = _taken(readers, which)
            if own is None:
                reading = page.read(world, items, some, shown[which], day, seed)
            else:
                reading = enacted(world, items, some.mind, shown[which], own)
            readers.mind.put(which, some.mind)
            readings.append((which, reading))
        together = _merged(readings, len(shown))
        self._remember(together, readers, shown, rows, verdicts, day)
        return together

    def decided(self) -> dict[str, int]:
        """How many pages the model decided (``model``; ``kept``: answered earlier), and others.

        ``budget``, ``answer`` and ``endpoint`` say why the fitted response decided instead.
        """
        return {whose: self._asker.decided[whose] for whose in WHOSE}

    def verdicts(
        self, items: Items, readers: Readers, shown: Tensor, rows: Tensor, day: int
    ) -> list[Verdict | None]:
        """What the model says of the pages at ``rows`` of ``shown``; None where it says nothing."""
        questions = []
        for row in rows.tolist():
            player = self._players[int(readers.key[row])]
            if day != player.day:
                player.day, player.pages = day, 0
            player.pages += 1
            there = shown[row][shown[row] >= 0]
            facts = player.memory.recall(items.vectors, there)
            state = {
                "day": day,
                "page of this visit": player.pages,
                "items of this visit so far": int(readers.mind.place[row]),
                "mood from 0 to 10": round(10 * float(readers.mind.mood[row]), 1),
                "disappointments in a row": int(readers.mind.bad[row]),
            }
            entries = [
                self._titles.entry(place, item) for place, item in enumerate(there.tolist(), 1)
            ]
            messages = words.question(
                player.character, state, facts, player.memory.feelings, entries
            )
            questions.append((messages, len(entries)))
        found = iter(self._asker.ask([one for one in questions if one[1]]))
        if questions:
            self._tell(f"day {day}: {len(questions)} pages asked for")
        # An empty page is nothing to ask about.
        return [next(found) if n else None for _, n in questions]

    def _remember(
        self,
        reading: Reading,
        readers: Readers,
        shown: Tensor,
        rows: Tensor,
        verdicts: list[Verdict | None],
        day: int,
    ) -> None:
        for row, verdict in zip(rows.tolist(), verdicts, strict=True):
            memory = self._players[int(readers.key[row])].memory
            places = reading.event[row].nonzero()[:, 0].tolist()
            memory.note([self._fact(reading, row, p, int(shown[row, p]), day) for p in places])
            if verdict is not None:
                tired = int(readers.mind.place[row])
                memory.feel(Feeling(day, verdict.satisfaction, tired, verdict.feeling))

    def _fact(self, reading: Reading, row: int, place: int, item: int, day: int) -> Fact:
        signals = self._asker.form.signals
        amount = float(reading.amount[row, place])
        done = {
            "watch_ratio": f"watched {round(100 * amount)} %",
            "rating": f"rated {amount:g}",
            "positive": "took" if amount > 0 else "left",
        }[signals.measure]
        flags = reading.reactions[row, place].tolist()
        reacted = [name for name, flag in zip(signals.reactions, flags, strict=True) if flag]
        also = f" ({', '.join(reacted)})" if reacted else ""
        content = float(reading.satisfaction[row, place])
        text = f"day {day}: {done}{also}: {self._titles.title(item)}"
        return Fact(item, text, min(1.0, 2 * abs(content - 0.5)))

    def _earlier(self, items: Tensor) -> list[Fact]:
        return [
            Fact(item, f"earlier: took {self._titles.title(item)}", 0.5) for item in items.tolist()
        ]


def _taken(readers: Readers, rows: Tensor) -> Readers:
    return Readers(
        readers.persona.take(rows),
        readers.mind.take(rows),
        readers.key[rows],
        readers.attention[rows],
        readers.impatience[rows],
    )


def enacted(
    world: World, items: Items, mind: Mind, shown: Tensor, verdicts: list[Verdict]
) -> Reading:
    """What comes of verdicts on pages ``shown`` (n, k); ``mind`` changes as on any page."""
    signals, (n, k) = world.signals, shown.shape
    there = shown >= 0
    # A verdict counts the items of a page, which has empty places anywhere.
    number = (there.cumsum(1) - 1).clamp(min=0)
    width = max((len(verdict.takes) for verdict in verdicts), default=0)
    takes, amount = torch.zeros(n, max(width, k), dtype=torch.bool), torch.zeros(n, max(width, k))
    reactions = torch.zeros(n, max(width, k), len(signals.reactions))
    for row, verdict in enumerate(verdicts):
        m = len(verdict.takes)
        takes[row, :m] = torch.tensor(verdict.takes)
        amount[row, :m] = torch.tensor(verdict.amount)
        reactions[row, :m] = torch.tensor(verdict.reactions, dtype=torch.float32).view(m, -1)
    leaves = torch.tensor([verdict.leaves_after for verdict in verdicts], dtype=torch.int64)
    reached = torch.where(leaves > 0, leaves, k)
    seen, acts, events = [], [], []
    here = torch.arange(n)
    for place in range(k):
        item, at = shown[:, place].clamp(min=0), number[:, place]
        ratio, reacted = amount[here, at].clamp(max=signals.high), reactions[here, at]
        sees = there[:, place] & (at < reached)
        done = Act(
            takes=takes[here, at] | signals.shown,
            level=signals.level(ratio),
            amount=ratio,
            seconds=ratio * items.seconds[item]
            if signals.measure == "watch_ratio"
            else torch.zeros(n),
            reactions=reacted,
            satisfaction=signals.satisfaction(ratio, reacted),
            leaves=leaves > 0,
        )
        event = sees & done.takes
        mind.update(event, done.satisfaction, items.vectors[item], world.priors)
        seen.append(sees)
        events.append(event)
        acts.append(done)
    return page.together(world, torch.stack(seen, 1), torch.stack(events, 1), acts, leaves > 0)


def _merged(parts: list[tuple[Tensor, Reading]], n: int) -> Reading:
    """One reading of ``n`` pages out of readings of some rows each."""
    made = {}
    for part in fields(Reading):
        values = [(rows, getattr(reading, part.name)) for rows, reading in parts]
        _, first = values[0]
        whole = first.new_zeros(n, *first.shape[1:])
        for rows, value in values:
            whole[rows] = value
        made[part.name] = whole
    return Reading(**made)
