"""What a log cannot tell: assumptions, each in one place and each marked as such.

A world takes from here only what its log is silent about; ``World.assumed`` names what that was.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Priors:
    """Assumptions about users. Rates are shares a step; logits are natural."""

    mood_rate: float = 0.2
    """How much one experience moves the mood: mood += rate (satisfaction - mood)."""
    recent_rate: float = 0.3
    """How fast what was just seen replaces what was seen before it (short-term interest)."""
    bad_below: float = 0.3
    """Satisfaction under which an item counts as a disappointment."""
    shown_per_taken: int = 5
    """Where a log holds only what was taken: of so many items that are seen, one is taken."""
    popular_share: float = 0.5
    """There: of what is seen and not taken, the share drawn by popularity; the rest is even."""
    attention: float = 0.92
    """Where pages are laid out at once: chance to look at one place further, mean over users."""
    attention_spread: float = 0.05
    """Standard deviation of that between users."""
    empty_page: float = 0.35
    """Where a log holds only what was taken: chance to leave after a page with nothing taken."""
    leave: float = -2.9
    """Without times: logit of leaving after an item that was taken, at the start of a visit."""
    fatigue: float = 0.25
    """Without times: added to it for each doubling of the items taken in this visit."""
    mood_holds: float = 1.5
    """Without times: subtracted from it for a mood of 1 above a mood of 0."""
    impatience_spread: float = 0.4
    """Without times: standard deviation of that logit between users (patience)."""
    back: float = -1.0
    """Without times: logit of coming back on any following day."""
    mood_brings_back: float = 1.0
    """Without times: added to it for a mood of 1 above a mood of 0."""
