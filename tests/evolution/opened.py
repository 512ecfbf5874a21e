"""A cycle that is open, for tests of single steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agenticrs.evolution.cycle import Cycle
from agenticrs.evolution.request import EvolveRequest
from agenticrs.platform.database import session_scope
from agenticrs.registry import cycles

from .conftest import World


@contextmanager
def opened(world: World, *, trials: int, agents: tuple[str, ...]) -> Iterator[Cycle]:
    """An individual cycle of the world, at its beginning."""
    settings = world.services.settings
    dataset = world.services.datasets.load("generated")
    request = EvolveRequest(
        kind="individual", agents=agents, trials=trials, seconds=600, split=settings.split
    )
    with session_scope(world.services.engine) as session:
        row = cycles.open_cycle(
            session,
            surface="home",
            kind="individual",
            dataset="generated",
            fingerprint=dataset.fingerprint,
            seed=0,
            request=request.model_dump(mode="json"),
        )
    cycle = Cycle(
        services=world.services,
        id=row.id or 0,
        surface="home",
        dataset_name="generated",
        fingerprint=dataset.fingerprint,
        request=request,
        watch=lambda event: None,
        step="evaluate",
    )
    with cycle:
        yield cycle
