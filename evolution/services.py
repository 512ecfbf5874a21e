"""What a cycle works with: the parts of the platform, built once and passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import Engine

from agenticrs.platform.data.store import DatasetStore
from agenticrs.platform.jobs.job import JobRunner
from agenticrs.platform.llm.port import LanguageModel
from agenticrs.platform.settings import Settings
from agenticrs.platform.tracking.port import Tracking


@dataclass(frozen=True)
class Services:
    """Engine of the registry's database, MLflow, datasets, settings, and how jobs are run.

    ``open_runner`` starts the job runner only when a step needs one: Ray takes seconds.
    ``language_models`` draft structures; without any, mutation and crossover do.
    """

    engine: Engine
    tracking: Tracking
    datasets: DatasetStore
    settings: Settings
    open_runner: Callable[[], AbstractContextManager[JobRunner]]
    language_models: Sequence[LanguageModel] = ()
