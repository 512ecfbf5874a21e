"""Where report cards are kept: the last one of each composition is a file of its surface.

It holds nothing that could not be measured again, so the registry does not know of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from agenticrs.evolution.report_card.card import ReportCard


def store(home: Path, card: ReportCard) -> Path:
    """Keep the card in place of the composition's last one; readers see the old or the new."""
    path = _path(home, card.surface, card.composition)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(card.model_dump_json(indent=1))
    beside.replace(path)
    return path


def load(home: Path, surface: str, composition: int) -> ReportCard | None:
    """The composition's last card; None when there is none that this release can read."""
    try:
        return ReportCard.model_validate_json(_path(home, surface, composition).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def stored(home: Path, surface: str, limit: int | None = None, offset: int = 0) -> list[ReportCard]:
    """Cards of a surface's compositions, the newest composition first; only those are read."""
    asked = _numbers(home, surface)[offset:][:limit]
    found = [load(home, surface, number) for number in asked]
    return [card for card in found if card is not None]


def count(home: Path, surface: str) -> int:
    """How many compositions have a card, also of another release."""
    return len(_numbers(home, surface))


def _numbers(home: Path, surface: str) -> list[int]:
    files = _folder(home, surface).glob("*.json")
    return sorted((int(path.stem) for path in files if path.stem.isdigit()), reverse=True)


def _folder(home: Path, surface: str) -> Path:
    return home / "reports" / surface


def _path(home: Path, surface: str, composition: int) -> Path:
    return _folder(home, surface) / f"{composition}.json"
