"""What goes on in users while they browse: mood, fatigue, disappointments, what was just seen.

The same code runs when the response model learns from a log and when users are simulated, so what
was learnt is what is used.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from agenticrs.agents.simulation.items import Items
from agenticrs.agents.simulation.persona import Persona
from agenticrs.agents.simulation.priors import Priors

FEATURES = (
    "taste",
    "liking",
    "genres",
    "quality",
    "appeal",
    "popularity",
    "length",
    "content",
    "keen",
    "activity",
    "maverick",
    "maverick_quality",
    "diverse",
    "patience",
    "often",
    "fatigue",
    "mood",
    "last",
    "disappointed",
    "repeats",
    "diverse_repeats",
)
"""What a response may depend on, in the order of the columns of ``features``."""


@dataclass
class Mind:
    """The state of N users. ``update`` changes it in place.

    ``mood`` and ``last``: a moving mean of satisfaction and the newest one, in [0, 1]; ``place``:
    events of this visit so far (fatigue); ``bad``: disappointments in a row; ``recent`` (N, d): a
    moving mean of the vectors of items just seen.
    """

    mood: Tensor
    last: Tensor
    place: Tensor
    bad: Tensor
    recent: Tensor

    @staticmethod
    def rested(persona: Persona, mood: float) -> Mind:
        """Users between visits, as their earlier events left them; ``mood`` is the average one."""
        own = (mood + persona.mood).clamp(0.0, 1.0)
        nothing = torch.zeros(len(persona))
        return Mind(own, own.clone(), nothing, nothing.clone(), persona.recent.clone())

    def take(self, rows: Tensor) -> Mind:
        """A copy of the minds at ``rows`` ((n,) indices)."""
        return Mind(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})

    def put(self, rows: Tensor, minds: Mind) -> None:
        """Take over the minds of the users at ``rows``."""
        for part in fields(self):
            getattr(self, part.name)[rows] = getattr(minds, part.name)

    def open_visit(self, opens: Tensor) -> None:
        """Who comes anew (bool) is rested; the mood stays as it was."""
        self.place = torch.where(opens, 0.0, self.place)
        self.bad = torch.where(opens, 0.0, self.bad)

    def update(self, happened: Tensor, satisfaction: Tensor, seen: Tensor, priors: Priors) -> None:
        """Live through an event each: ``happened`` (N,) bool, ``seen`` (N, d) items' vectors."""
        mood = self.mood + priors.mood_rate * (satisfaction - self.mood)
        self.mood = torch.where(happened, mood, self.mood)
        self.last = torch.where(happened, satisfaction, self.last)
        bad = torch.where(satisfaction < priors.bad_below, self.bad + 1, 0.0)
        self.bad = torch.where(happened, bad, self.bad)
        self.place = self.place + happened.to(torch.float32)
        weight = priors.recent_rate * happened.to(torch.float32)
        self.recent = torch.lerp(self.recent, seen, weight[:, None])


def features(persona: Persona, mind: Mind, items: Items, shown: Tensor, vectors: Tensor) -> Tensor:
    """What each user's response to the item ``shown`` (N,) depends on, (N, len(FEATURES)).

    ``vectors`` (N, d) are those of the items.
    """
    repeats = (mind.recent * vectors).sum(1)
    quality = items.quality[shown]
    return torch.stack(
        [
            (persona.taste * vectors).sum(1),
            (persona.liking * vectors).sum(1),
            (persona.tags * items.tags[shown]).sum(1),
            quality,
            items.appeal[shown],
            items.popularity[shown],
            items.length[shown],
            persona.content,
            persona.keen,
            persona.activity,
            persona.maverick,
            persona.maverick * quality,
            persona.diverse,
            persona.patience,
            persona.often,
            mind.place.log1p(),
            mind.mood,
            mind.last,
            mind.bad.log1p(),
            repeats,
            persona.diverse * repeats,
        ],
        1,
    )
