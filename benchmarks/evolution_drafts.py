r"""Structures by language models in ``evolution.py``: any endpoint that the environment names.

    AGENTICRS_LLM_MODELS=small,large OPENAI_BASE_URL=http://... OPENAI_API_KEY=... \
        python benchmarks/evolution.py --ways llm

Prices and caps are the platform's settings (``docs/settings.md``); a cap holds for one search, as
it does for one cycle. Seconds of waiting for answers are no training seconds: they are written
down beside.
"""

from __future__ import annotations

from typing import Any

from agenticrs.agents.catalogue import load_agents
from agenticrs.agents.grammar.tables import Sizes
from agenticrs.agents.training_data import TrainingData
from agenticrs.evolution.methods.points import flat
from agenticrs.evolution.proposer.briefing import Briefing
from agenticrs.evolution.proposer.proposer import Proposer
from agenticrs.evolution.proposer.structure_task import StructureTask
from agenticrs.evolution.remembering import statistics
from agenticrs.platform.data.dataset import Fold
from agenticrs.platform.errors import SettingsError
from agenticrs.platform.llm.spending import Caps, Purse, Spent, Tariff
from agenticrs.platform.settings import Settings, load_settings
from agenticrs.ui.wiring import language_models


class Drafts:
    """Proposers by the models of the environment, and what all of them together have spent.

    Raises SettingsError where the environment names no model.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or load_settings()
        self._models = language_models(self._settings)
        if not self._models:
            raise SettingsError(
                "the environment names no language model",
                hint="set AGENTICRS_LLM_MODELS and OPENAI_BASE_URL, or leave the way llm out",
            )
        self._purses: list[Purse] = []

    def proposer(self, agent: str, fold: Fold, seed: int) -> Proposer:
        """One for a search of its own, with a purse of its own."""
        caps = Caps(self._settings.llm_tokens, self._settings.llm_money, self._settings.llm_seconds)
        self._purses.append(Purse(caps, Tariff(self._settings.prices)))
        own: Any = load_agents()[agent]
        data = TrainingData.of(fold.dataset)
        briefing = Briefing(
            name=agent,
            summary=own.spec.summary,
            role=own.spec.role,
            metric=str(own.spec.inner_reward),
            current=flat(own.config_type().model_dump(mode="json")),
            data=statistics(fold.dataset),
        )
        return Proposer(
            StructureTask(own, Sizes.of(data)),
            briefing,
            self._models,
            self._purses[-1],
            seed=seed,
            useless=lambda what: print(f"  {what.origin}: {what.error}", flush=True),
        )

    @property
    def spent(self) -> Spent:
        """Tokens, money and seconds of all searches so far."""
        return sum((purse.spent for purse in self._purses), Spent())
