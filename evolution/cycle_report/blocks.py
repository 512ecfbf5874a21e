"""What a cycle's report is made of. Pure data; ``text.py`` makes Markdown and HTML of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The beginning of a part."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of texts under their heads."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """An SVG element, and what it shows in words."""

    name: str
    svg: str
    text: str


Block = Heading | Paragraph | Table | Picture


@dataclass(frozen=True)
class Report:
    """A cycle's report; ``figures`` are its numbers for a run in MLflow."""

    cycle: int
    surface: str
    kind: str
    state: str
    title: str
    blocks: tuple[Block, ...]
    figures: Mapping[str, float]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures in it."""
        return tuple(block for block in self.blocks if isinstance(block, Picture))
