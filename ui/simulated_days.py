"""Days of simulated users with what is loaded: fitted ones, and some that a model plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from agenticrs.agents.simulation.outcome import Outcome
from agenticrs.agents.simulation.population import Population
from agenticrs.agents.simulation.role_play import words
from agenticrs.agents.simulation.role_play.asking import Asker
from agenticrs.agents.simulation.role_play.comparison import Difference, compared
from agenticrs.agents.simulation.role_play.examination import Examined, examined
from agenticrs.agents.simulation.role_play.form import Form
from agenticrs.agents.simulation.role_play.players import Players, sampled
from agenticrs.agents.simulation.simulate import simulate
from agenticrs.agents.simulation.world import Study, study
from agenticrs.evolution.evidence import Trust
from agenticrs.platform.llm.answers import KeptAnswers
from agenticrs.platform.llm.port import LanguageModel
from agenticrs.platform.llm.spending import Caps, Purse, Spent, Tariff
from agenticrs.platform.settings import Settings
from agenticrs.ui.loaded_model import LoadedModel


@dataclass(frozen=True)
class PlayedDays:
    """What came of users whom a language model plays, beside themselves as fitted.

    ``decided`` says how many pages were whose decision (``Players.decided``), those of the
    examination not among them. ``played`` and ``fitted`` are the trust in each on held-out users
    who were examined on the same pages; ``doubt`` says why the played ones may decide nothing, by
    the rule of a cycle.
    """

    model: str
    prompts: tuple[str, ...]
    users: int
    decided: Mapping[str, int]
    spent: Spent
    last_error: str
    differences: tuple[Difference, ...]
    played: Examined
    fitted: Examined
    doubt: str


@dataclass(frozen=True)
class SimulatedDays:
    """A population of the log's users and what they did in some days with what is loaded."""

    loaded: LoadedModel
    fit: Study
    population: Population
    outcome: Outcome
    days: int
    seed: int

    @staticmethod
    def of(loaded: LoadedModel, users: int | None, days: int, seed: int) -> SimulatedDays:
        """Fit users to the dataset of what is loaded, and simulate so many of them, or all."""
        fitted = study(loaded.dataset, seed)
        everybody = Population.of(fitted.world)
        chosen = everybody.key if users is None else sampled(everybody, users, seed)
        population = Population.of(fitted.world, chosen)
        outcome = simulate(population, loaded.slates, days, seed)
        return SimulatedDays(loaded, fitted, population, outcome, days, seed)

    def played(
        self, settings: Settings, model: LanguageModel, users: int, tell: Callable[[str], object]
    ) -> PlayedDays:
        """Some of the users once more, with the same luck, as the model decides.

        Then as many held-out users are examined, with what is left of the caps. Caps and prices are
        those of the settings; answers are kept in the home folder.
        """
        world = self.population.world
        rows = sampled(self.population, users, self.seed)
        few = Population.of(world, self.population.key[rows])
        purse = Purse(
            Caps(settings.llm_tokens, settings.llm_money, settings.llm_seconds),
            Tariff(settings.prices),
        )
        asker = Asker(model, purse, Form(world.signals), KeptAnswers(settings.home / "answers"))
        players = Players(few, torch.arange(len(few)), asker, self.loaded.dataset, tell)
        outcome = simulate(few, self.loaded.slates, self.days, self.seed, reader=players.read)
        decided = players.decided()
        as_played, as_fitted = examined(
            self.fit, self.loaded.dataset, asker, users, self.seed, tell
        )
        return PlayedDays(
            model=model.name,
            prompts=tuple(words.prompt(name).version for name in ("page", "repair")),
            users=len(few),
            decided=decided,
            spent=purse.spent,
            last_error=asker.last_error,
            differences=tuple(compared(self.outcome, rows, outcome, self.seed)),
            played=as_played,
            fitted=as_fitted,
            doubt=_doubt(as_played, settings.trust_threshold, world.assumed),
        )


def _doubt(found: Examined, threshold: float, assumed: tuple[str, ...]) -> str:
    if not found.users:
        return "no held-out user was played by the model"
    trust = Trust(
        score=found.trust.score,
        threshold=threshold,
        parts=dict(found.trust.parts),
        ordering=None,  # a page a user orders no recommenders
        users=found.users,
        assumed=assumed,
    )
    return trust.doubt
