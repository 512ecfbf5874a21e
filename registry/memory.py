"""The empirical memory: what was proposed, why, and what came of it. Searched by words and data."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from agenticrs.registry.tables import MemoryRow

GOOD = ("promoted", "better", "approved")
"""Verdicts of what is worth doing again."""
_MOST = 5000
"""Newest entries that a search looks through."""


@dataclass(frozen=True)
class Found:
    """An entry, and how well it fits: 1 is as well as can be."""

    row: MemoryRow
    fit: float


def remember(session: Session, row: MemoryRow) -> bool:
    """Keep an entry, unless there is one with its key; return whether it is new."""
    known = session.exec(select(MemoryRow.id).where(MemoryRow.key == row.key)).first()
    if known is not None:
        return False
    session.add(row)
    session.flush()
    return True


def search(
    session: Session,
    surface: str,
    words: str = "",
    *,
    agent: str | None = None,
    verdicts: Sequence[str] = (),
    data: Mapping[str, float] | None = None,
    limit: int = 10,
) -> list[Found]:
    """The entries of a surface that fit best, the better and newer of equals first.

    ``words`` are compared with everything an entry says, rare words counting more (cosine of tf-idf
    weights); without words the newest come first. ``data`` are statistics of a dataset: entries
    that come from a similar one count more.
    """
    query = select(MemoryRow).where(MemoryRow.surface == surface)
    if agent is not None:
        query = query.where(MemoryRow.agent == agent)
    if verdicts:
        query = query.where(col(MemoryRow.verdict).in_(verdicts))
    rows = list(session.exec(query.order_by(col(MemoryRow.id).desc()).limit(_MOST)))
    fits = _likeness(words, [_text(row) for row in rows]) if words.strip() else [1.0] * len(rows)
    found = [
        Found(row, fit * (1.0 if data is None else _alike(data, row.data)))
        for row, fit in zip(rows, fits, strict=True)
        if fit > 0
    ]
    return sorted(found, key=lambda f: (-round(f.fit, 6), -(f.row.id or 0)))[:limit]


def agents(session: Session, surface: str) -> list[str]:
    """What there are entries about: agents, and the surface itself for compositions."""
    query = select(MemoryRow.agent).where(MemoryRow.surface == surface).distinct()
    return sorted(session.exec(query))


def _text(row: MemoryRow) -> str:
    said = (row.agent, row.origin, row.proposal, row.reason, row.expected, row.verdict, row.lesson)
    return " ".join(said)


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z0-9@]+", text.lower()))


def _likeness(words: str, texts: Sequence[str]) -> list[float]:
    """Cosine of the tf-idf vectors of ``words`` and each text."""
    counted = [_words(text) for text in texts]
    known: Counter[str] = Counter()
    for one in counted:
        known.update(one.keys())

    def weighted(one: Counter[str]) -> dict[str, float]:
        return {w: n * math.log(1 + (1 + len(texts)) / (1 + known[w])) for w, n in one.items()}

    asked = weighted(_words(words))
    length = math.hypot(*asked.values()) or 1.0
    fits = []
    for one in counted:
        own = weighted(one)
        product = sum(weight * own.get(word, 0.0) for word, weight in asked.items())
        fits.append(product / (length * (math.hypot(*own.values()) or 1.0)))
    return fits


def _alike(mine: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """exp(-mean absolute difference of logarithms): 1 for the same data, less for other data."""
    shared = [name for name in mine if name in theirs]
    if not shared:
        return 0.5
    apart = [abs(math.log1p(abs(mine[n])) - math.log1p(abs(theirs[n]))) for n in shared]
    return math.exp(-sum(apart) / len(apart))
