"""What a cycle may still spend, and what it takes to train a recipe once more.

The best of many candidates wins only if further trainings of it win, too. They are paid out of the
same caps as the search, so a search leaves room for them, and none begins that has no room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agenticrs.evolution.cycle import Cycle
from agenticrs.platform.database import session_scope
from agenticrs.registry import trials
from agenticrs.registry.tables import TrialRow
from agenticrs.registry.trials import Cost

_ROUNDED = 1e-9


@dataclass(frozen=True)
class Cap:
    """A limit on what is spent; ``says`` is "the cycle's 20 GPU-seconds", or of whom it is."""

    says: str
    on_gpu: bool
    most: float
    spent: float

    @property
    def left(self) -> float:
        """What may still be spent."""
        return max(0.0, self.most - self.spent)

    def pays_for(self, one: Cost) -> float:
        """How many trainings of that price fit into what is left; infinite where none is known."""
        need = one.gpu_seconds if self.on_gpu else one.seconds
        return self.left / need + _ROUNDED if need else float("inf")


def caps(
    cycle: Cycle,
    agent: str = "",
    *,
    seconds: float | None = None,
    gpu_seconds: float | None = None,
    on_gpu: bool = True,
) -> list[Cap]:
    """The caps of the cycle, and of an agent's turn where that has some of its own.

    Without ``on_gpu`` those on seconds alone: they hold for who never asks for a GPU.
    """
    units: list[tuple[str, bool, Callable[..., float], float | None, float | None]]
    units = [("trial seconds", False, cycle.spent_seconds, cycle.request.seconds, seconds)]
    if on_gpu:
        most = cycle.request.gpu_seconds
        units.append(("GPU-seconds", True, cycle.spent_gpu_seconds, most, gpu_seconds))
    found = []
    for unit, gpu, spent, of_cycle, of_turn in units:
        if of_cycle is not None:
            found.append(Cap(f"the cycle's {of_cycle:g} {unit}", gpu, of_cycle, spent()))
        if of_turn is not None:
            found.append(Cap(f"the {of_turn:g} {unit} of its turn", gpu, of_turn, spent(agent)))
    return found


def price(cycle: Cycle, row: TrialRow) -> Cost:
    """What training a candidate's recipe once more is likely to take: what it took itself.

    Where an earlier trial's result was taken, what trainings of the agent took on average.
    """
    if "cached_from" not in row.note:
        return Cost(row.seconds, row.gpu_seconds)
    return usual_price(cycle, row.agent)


def usual_price(cycle: Cycle, agent: str) -> Cost:
    """What full trainings of an agent took on the cycle's dataset, on average."""
    with session_scope(cycle.services.engine) as session:
        return trials.cost(session, agent, cycle.dataset_name)
