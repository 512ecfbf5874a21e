"""An alias that is deleted in MLflow brings back what stood there before, if that is meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlmodel import Session
from tests.registry.test_promotion_races import World, world

from agenticrs.platform.database import session_scope
from agenticrs.platform.errors import TrackingError
from agenticrs.registry import outbox, promotion
from agenticrs.registry.tables import AgentRow
from agenticrs.registry.taken_back import MEANT_SECONDS, Missing

__all__ = ["world"]


@dataclass
class Poll:
    """A serving process that looks at MLflow's aliases; its clock moves when a test says so."""

    world: World
    now: float = 0.0
    missing: Missing = field(init=False)

    def __post_init__(self) -> None:
        self.missing = Missing(lambda: self.now)

    def look(self, after: float = 0.0) -> int | None:
        """Look after so many seconds; what serves then."""
        self.now += after
        promotion.reconcile(self.world.engine, self.world.mlflow, "home", self.missing)
        return self.world.serving()

    def delete(self, model: str) -> None:
        self.world.mlflow.delete_alias(f"home.{model}", "champion")


@pytest.fixture
def poll(world: World) -> Poll:
    """Compositions 1, then 2, then 3 served."""
    world.promote(2)
    world.promote(3)
    return Poll(world)


def test_a_deleted_alias_takes_the_composition_back_when_it_stays_away(poll: Poll) -> None:
    poll.delete("composition")
    assert poll.look() == 3, "whoever moves it may be half done"
    assert poll.look(MEANT_SECONDS - 1) == 3
    assert poll.look(1) == 2
    assert poll.world.champions() == (2, 2, 2), "all of it came back"
    reason = poll.world.audited("promote")[0]
    assert reason.startswith("alias champion of home.composition was deleted in MLflow")
    assert len(poll.world.audited("divergence")) == 1
    with session_scope(poll.world.engine) as session:
        assert [n.event for n in outbox.latest(session, "home")] == ["rollback"]
    assert poll.look(10 * MEANT_SECONDS) == 2, "once"


def test_an_alias_that_is_set_again_in_time_was_only_moved(poll: Poll) -> None:
    poll.delete("composition")
    assert poll.look() == 3
    poll.world.mlflow.set_alias("home.composition", "champion", 1)
    assert poll.look(MEANT_SECONDS / 2) == 1
    poll.world.mlflow.set_alias("home.composition", "champion", 1)
    poll.delete("composition")
    assert poll.look(10 * MEANT_SECONDS) == 1, "it counts from when it was seen to be gone"


def test_a_deleted_alias_of_an_agent_takes_that_agent_back(poll: Poll) -> None:
    poll.delete("ease")
    assert poll.look() == 3
    poll.look(MEANT_SECONDS)
    assert poll.world.members() == {"ease": 2, "rrf": 3}
    assert poll.world.champions()[1:] == (2, 3)


def test_of_a_composition_and_an_agent_the_composition_counts(poll: Poll) -> None:
    poll.delete("ease")
    poll.delete("composition")
    poll.look()
    assert poll.look(MEANT_SECONDS) == 2
    assert poll.world.members() == {"ease": 2, "rrf": 2}


@pytest.mark.parametrize("model", ["composition", "ease"])
def test_an_alias_that_went_with_its_version_is_told_once_and_changes_nothing(
    poll: Poll, model: str
) -> None:
    poll.delete(model)
    poll.world.mlflow.delete_version(f"home.{model}", 3)
    for _ in range(5):
        assert poll.look(MEANT_SECONDS) == 3
    told = poll.world.audited("divergence")
    assert len(told) == 2
    assert told[0] == f"version 3 of home.{model} was deleted in MLflow; it keeps serving"


def test_a_renamed_model_changes_nothing(poll: Poll) -> None:
    models = poll.world.mlflow.models
    models["renamed"] = models.pop("home.composition")
    for _ in range(3):
        assert poll.look(MEANT_SECONDS) == 3
    assert len(poll.world.audited("divergence")) == 1


def test_the_first_that_ever_served_has_nothing_before_it(world: World) -> None:
    poll = Poll(world)
    poll.delete("composition")
    for _ in range(4):
        assert poll.look(MEANT_SECONDS) == 1
    assert len(world.audited("divergence")) == 1


def test_what_may_not_serve_any_more_is_refused_once(poll: Poll) -> None:
    with session_scope(poll.world.engine) as session:
        make_a_tool(session, "rrf")
    poll.delete("ease")
    for _ in range(5):
        assert poll.look(MEANT_SECONDS) == 3
    assert len(poll.world.audited("divergence")) <= 3


def test_while_mlflow_is_away_it_is_not_forgotten(poll: Poll) -> None:
    poll.delete("composition")
    poll.look()
    poll.world.mlflow.reachable = False
    with pytest.raises(TrackingError):
        poll.look(MEANT_SECONDS)
    poll.world.mlflow.reachable = True
    assert poll.look() == 2


def test_who_keeps_nothing_from_look_to_look_only_tells(world: World) -> None:
    world.promote(2)
    world.mlflow.delete_alias("home.composition", "champion")
    assert world.reconcile() is None
    assert world.serving() == 2


def make_a_tool(session: Session, name: str) -> None:
    row: Any = session.get(AgentRow, name)
    row.status = "tool"
