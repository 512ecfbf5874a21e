"""Weights of the objectives as people are shown them: which hold, and who said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session

from agenticrs.platform.settings import Settings
from agenticrs.registry import objectives
from agenticrs.rewards.objectives import parse


@dataclass(frozen=True)
class HeldWeights:
    """The weights that cycles go by, as shares that sum to 1."""

    shares: Mapping[str, float]
    source: str
    proposal: int | None
    """Number of the approved proposal; None where the settings hold."""


def held_weights(session: Session, settings: Settings) -> HeldWeights:
    """Those of the approved proposal, else of the settings. Raises SettingsError for wrong ones."""
    row = objectives.approved(session, settings.surface)
    if row is None:
        shares = {
            str(name): share for name, share in parse(settings.objective_weights).shares.items()
        }
        return HeldWeights(shares, "the settings", None)
    return HeldWeights(row.after, f"proposal {row.id}, approved by {row.who}", row.id)
