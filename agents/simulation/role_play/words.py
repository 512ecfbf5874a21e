"""A user and a page in words, fenced and bounded: all that a model is told.

No identifier of a user, no row of the log: a character in tiers, favourite kinds, a few remembered
items, and the page. Titles are somebody else's text and go through the fence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agenticrs.agents.simulation.items import tags_of
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.role_play.memory import Fact, Feeling
from agenticrs.platform.data.dataset import Dataset
from agenticrs.platform.llm.fence import cleaned, fenced, one_line
from agenticrs.platform.llm.port import Message
from agenticrs.platform.llm.prompts import Prompt, read_prompt

_LONGEST_TITLE, _LONGEST_FACT = 120, 220
_LONGEST_PART, _LONGEST_PAGE, _LONGEST_ANSWER = 2_500, 20_000, 4_000
_KINDS, _FAVOURITES = 6, 3
_TIERS: dict[str, tuple[tuple[float, float], tuple[str, str, str]]] = {
    "activity": ((0.6, 0.9), ("occasional", "regular", "heavy")),
    "maverick": ((0.25, 0.8), ("follower", "balanced", "maverick")),
    "diverse": ((0.33, 0.66), ("few kinds", "several kinds", "many kinds")),
    "content": ((0.33, 0.66), ("hard to please", "average", "easily pleased")),
    "patience": ((0.33, 0.66), ("short visits", "average visits", "long visits")),
}
"""Part of a persona -> where its tiers end among all users, and what they are called."""
_CALLED = {"maverick": "conformity", "diverse": "diversity"}


def prompt(name: str) -> Prompt:
    """A prompt of this package."""
    return read_prompt("agenticrs.agents.simulation.role_play", name)


@dataclass(frozen=True)
class Titles:
    """What can be said of items: titles, numbers of their kinds, seconds (0: not known)."""

    titles: Sequence[str]
    tags: Tensor
    seconds: Tensor

    @staticmethod
    def of(dataset: Dataset, seconds: Tensor) -> Titles:
        """The items of a dataset; an item without a title goes by its id."""
        pairs = zip(dataset.item_titles.tolist(), dataset.item_ids.tolist(), strict=True)
        return Titles([title or f"item {name}" for title, name in pairs], tags_of(dataset), seconds)

    def title(self, item: int) -> str:
        """One line, without secrets."""
        return one_line(self.titles[item], _LONGEST_TITLE)

    def entry(self, place: int, item: int) -> dict[str, Any]:
        """An item as it stands on a page."""
        kinds = self.tags[item].nonzero()[:, 0].tolist()[:_KINDS]
        told: dict[str, Any] = {"place": place, "title": self.title(item), "kinds": kinds}
        if float(self.seconds[item]) > 0:
            told["seconds"] = round(float(self.seconds[item]))
        return told


def characters(everybody: Persona, persona: Persona) -> list[dict[str, Any]]:
    """Each user of ``persona`` in words, by their place among everybody."""
    told: list[dict[str, Any]] = [{} for _ in range(len(persona))]
    for part, (ends, names) in _TIERS.items():
        values = getattr(everybody, part).to(torch.float64)
        low, high = torch.quantile(values, torch.tensor(ends, dtype=torch.float64)).tolist()
        if low == high:  # everybody is alike, or the log does not tell
            continue
        own = getattr(persona, part).to(torch.float64)
        tier = (own >= low).to(torch.int64) + (own >= high).to(torch.int64)
        for row, which in enumerate(tier.tolist()):
            told[row][_CALLED.get(part, part)] = names[which]
    shares, kinds = persona.tags.topk(min(_FAVOURITES, persona.tags.shape[1]), dim=1)
    for row in range(len(persona)):
        pairs = zip(kinds[row].tolist(), shares[row].tolist(), strict=True)
        told[row]["favourite kinds"] = {str(k): round(share, 2) for k, share in pairs if share > 0}
    return told


def question(
    character: dict[str, Any],
    state: dict[str, Any],
    facts: Sequence[Fact],
    feelings: Sequence[Feeling],
    page: Sequence[dict[str, Any]],
) -> list[Message]:
    """What to do (a prompt file), then the user, the memory and the page, each in a fence."""
    felt = [
        f"day {one.day}: {one.satisfaction} of 10 after {one.tired} items, {one.text}"
        for one in feelings
    ]
    sections = [
        ("The character", fenced("character", character, limit=_LONGEST_PART)),
        ("Now", fenced("state", state, limit=_LONGEST_PART)),
        ("What comes to mind", _listed("facts", [fact.text for fact in facts])),
        ("How earlier pages were", _listed("feelings", felt)),
        ("The page", fenced("page", _lines(page), limit=_LONGEST_PAGE)),
    ]
    text = "\n\n".join(f"# {title}\n\n{body}" for title, body in sections if body)
    return [Message("system", prompt("page").text), Message("user", text)]


def repair(asked: Sequence[Message], said: str, errors: Sequence[str]) -> list[Message]:
    """The question again, with the answer that was refused and the exact errors."""
    listed = "\n".join(f"- {one_line(error, _LONGEST_FACT)}" for error in errors)
    told = f"{prompt('repair').text}\n\n{fenced('errors', listed, limit=_LONGEST_PART)}"
    answer = cleaned(said, _LONGEST_ANSWER) or "(nothing)"
    return [*asked[:2], Message("assistant", answer), Message("user", told)]


def _listed(kind: str, lines: Sequence[str]) -> str:
    body = "\n".join(f"- {one_line(line, _LONGEST_FACT)}" for line in lines)
    return fenced(kind, body, limit=_LONGEST_PART) if lines else ""


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
